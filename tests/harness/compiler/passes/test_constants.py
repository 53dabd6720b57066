from __future__ import annotations

import numpy as np

from harness.compiler.expression import Constant, Input, apply
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.operators import Map, Transpose
from harness.compiler.passes.constants import fold_constants, fold_moves

WEIGHTS = np.arange(6, dtype=np.int8).reshape(2, 3)


def graph() -> Graph:
    dequantize = apply("dequantize", Input(0), Constant(0.5, "float32"), Constant(0, "int8"))
    nodes = [
        Node(Transpose((1, 0)), ("w",), "t", ""),
        Node(Map(dequantize, (3, 2)), ("t",), "r", ""),
        Node(Map(apply("add", Input(0), Input(1)), (3, 2)), ("x", "r"), "y", ""),
    ]
    return Graph.of({"x": Type("float32", (3, 2))}, ["y"], nodes, {"w": WEIGHTS})


def test_all_that_no_input_changes_becomes_a_constant() -> None:
    found = fold_constants(graph())
    assert len(found.nodes) == 1
    np.testing.assert_array_equal(found.constants["r"], WEIGHTS.T * np.float32(0.5))
    assert "w" not in found.constants


def test_dequantized_weights_stay_for_integer_layers() -> None:
    found = fold_moves(graph())
    assert [node.output for node in found.nodes] == ["r", "y"]
    np.testing.assert_array_equal(found.constants["t"], WEIGHTS.T)
