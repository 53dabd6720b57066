from __future__ import annotations

import numpy as np
import pytest

from harness.compiler.expression import Constant, Input, apply
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.operators import Map, Reshape
from harness.compiler.passes.simplify import simplify

X = {"x": Type("uint8", (2, 1, 3))}
DEQUANTIZE = apply("dequantize", Input(0), Constant(0.1, "float32"), Constant(5, "uint8"))
RELU = Map(apply("max", Input(0), Constant(0, "uint8")), (2, 1, 3))


def quantize(scale: float) -> Map:
    return Map(apply("quantize", Input(0), Constant(scale, "float32"), Constant(5, "uint8"), dtype="uint8"), (2, 1, 3))


def names(graph: Graph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes]


def test_nodes_that_nobody_reads_and_copies_are_dropped() -> None:
    nodes = [
        Node(RELU, ("x",), "dead", ""),
        Node(Map(Input(0), (2, 1, 3)), ("x",), "copy", ""),
        Node(Reshape((2, 3, 1)), ("copy",), "a", ""),
        Node(Reshape((2, 1, 3)), ("a",), "b", ""),
        Node(RELU, ("b",), "y", ""),
    ]
    found = simplify(Graph.of(X, ["y"], nodes, {}))
    assert found.nodes == (Node(RELU, ("x",), "y", ""),)


def test_an_output_stays_even_where_it_copies_an_input() -> None:
    graph = Graph.of(X, ["y"], [Node(Map(Input(0), (2, 1, 3)), ("x",), "y", "")], {})
    assert simplify(graph) == graph


@pytest.mark.parametrize(("scale", "left"), [(0.1, ["Map"]), (0.2, ["Map", "Map", "Map"])])
def test_quantize_over_dequantize_cancels_for_the_same_scale_only(scale: float, left: list[str]) -> None:
    nodes = [
        Node(Map(DEQUANTIZE, (2, 1, 3)), ("x",), "r", ""),
        Node(quantize(scale), ("r",), "q", ""),
        Node(RELU, ("q",), "y", ""),
    ]
    graph = Graph.of(X, ["y"], nodes, {})
    found = simplify(graph)
    assert names(found) == left
    x = np.arange(6, dtype=np.uint8).reshape(2, 1, 3) * 51
    np.testing.assert_array_equal(interpret(found, {"x": x})["y"], interpret(graph, {"x": x})["y"])
