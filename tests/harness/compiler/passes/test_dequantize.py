from __future__ import annotations

import numpy as np
import pytest

from harness.compiler.expression import Constant, Input, apply
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph, Node, Operator, Type
from harness.compiler.operators import Concat, Map, Pad, Pool, Reduce, Reshape, Slice, Transpose, Window
from harness.compiler.passes.dequantize import Scale, scale_of, sink_dequantize

SHAPE = (1, 4, 4, 2)


def dequantize(scale: float) -> Map:
    return Map(apply("dequantize", Input(0), Constant(scale, "float32"), Constant(9, "uint8")), SHAPE)


def graph(op: Operator, second: float = 0.5, dtype: str = "uint8") -> Graph:
    nodes = [Node(dequantize(0.5), ("x",), "a", ""), Node(dequantize(second), ("z",), "b", "")]
    reads = ("a", "b") if isinstance(op, Concat) else ("a",)
    return Graph.of({"x": Type("uint8", SHAPE), "z": Type(dtype, SHAPE)}, ["y"], [*nodes, Node(op, reads, "y", "")], {})


@pytest.mark.parametrize(
    "op",
    [
        Pool("max", Window((3, 3), (2, 2), (1, 1, 1, 1))),
        Reshape((4, 8)),
        Transpose((0, 3, 1, 2)),
        Slice((0, 1, 0, 0), (1, 2, 2, 2), (1, 1, 2, 1)),
        Pad((0, 1, 1, 0), (0, 0, 2, 0)),
        Concat(3),
    ],
)
def test_moving_and_choosing_is_done_on_bytes(op: Operator) -> None:
    before = graph(op)
    after = sink_dequantize(before)
    (mover,) = (node for node in after.nodes if type(node.op) is type(op))
    assert after.types[mover.output].dtype == "uint8" and after.makers()["y"].inputs == (mover.output,)
    rng = np.random.default_rng(0)
    given = {name: rng.integers(0, 256, SHAPE).astype(np.uint8) for name in ("x", "z")}
    np.testing.assert_array_equal(interpret(after, given)["y"], interpret(before, given)["y"])


@pytest.mark.parametrize(
    "before",
    [
        graph(Concat(3), 0.25),
        graph(Concat(3), 0.5, "int8"),
        graph(Reduce("sum", (1, 2))),
        graph(Pad((0, 1, 0, 0), (0, 0, 0, 0), 2.0)),
    ],
    ids=["other scales", "other types", "sums", "padding by another value than 0"],
)
def test_what_means_something_else_on_bytes_is_left(before: Graph) -> None:
    assert sink_dequantize(before) == before


def test_the_scale_of_a_map() -> None:
    assert scale_of(dequantize(0.5), "dequantize") == Scale(0.5, 9)
    assert scale_of(dequantize(0.5), "quantize") is None and scale_of(Reshape((1,)), "dequantize") is None
    along_an_axis = Map(apply("dequantize", Input(0), Input(1), Constant(9, "uint8")), SHAPE)
    assert scale_of(along_an_axis, "dequantize") is None
