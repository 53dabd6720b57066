from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler.choice import ANY_VECTORS
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.operators import Clamp, Conv, Pad, Pool, Reduce, Window
from harness.compiler.passes import regions
from harness.compiler.passes.padding import explicit_padding
from harness.compiler.passes.regions import in_regions
from harness.compiler.regions import FromRegions, RegionConv, ToRegions

Array = npt.NDArray[Any]
RELU = Clamp(0, np.inf)
SAME, HALF, HALF_ONE = Window((3, 3), pads=(1, 1, 1, 1)), Window((3, 3), (2, 2), (1, 1, 1, 1)), Window((1, 1), (2, 2))


def block(channels: int, density: float, outputs: tuple[str, ...] = ("y",), size: int = 14) -> Graph:
    """A residual block, one at half the resolution, and a mean."""
    rng = np.random.default_rng(0)
    c, d = channels, 2 * channels
    shapes = {"w1": (3, 3, c, c), "w2": (3, 3, c, c), "w3": (3, 3, c, d), "w4": (3, 3, d, d), "w5": (1, 1, c, d)}
    constants: dict[str, Array] = {
        name: (rng.standard_normal(shape) * (rng.random(shape) < density)).astype(np.float32) for name, shape in shapes.items()
    }
    constants |= {"b": rng.standard_normal(c, np.float32), "bd": rng.standard_normal(d, np.float32)}
    nodes = [
        Node(Conv(SAME, 1, RELU), ("x", "w1", "b"), "first", "1"),
        Node(Conv(SAME, 1, RELU), ("first", "w2", "b", "x"), "second", "2"),
        Node(Conv(HALF, 1, RELU), ("second", "w3", "bd"), "third", "3"),
        Node(Conv(HALF_ONE, 1), ("second", "w5", "bd"), "aside", "4"),
        Node(Conv(SAME, 1, RELU), ("third", "w4", "bd", "aside"), "fourth", "5"),
        Node(Reduce("mean", (1, 2)), ("fourth",), "y", "6"),
    ]
    return explicit_padding(Graph.of({"x": Type("float32", (1, size, size, c))}, outputs, nodes, constants))


def kinds(graph: Graph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes]


@pytest.mark.parametrize("outputs", [("y",), ("second", "y"), ("first", "fourth")])
def test_a_sparse_network_is_moved_there_once_and_back_once(outputs: tuple[str, ...]) -> None:
    graph = block(128, 0.05, outputs)
    found = in_regions(graph, ANY_VECTORS)
    assert not {"Conv", "Pad"} & set(kinds(found)) and kinds(found).count("RegionConv") == 5
    sources = [node.inputs[0] for node in found.nodes if isinstance(node.op, ToRegions)]
    backs = [node.output for node in found.nodes if isinstance(node.op, FromRegions)]
    assert sources[0] == "x" and len(sources) <= 2 and backs.count("second") <= 1
    assert set(outputs) - {"y"} <= set(backs)
    x = {"x": np.random.default_rng(1).standard_normal(graph.types["x"].shape).astype(np.float32)}
    for got, wanted in zip(interpret(found, x).values(), interpret(graph, x).values(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_both_halvings_read_the_same_regions() -> None:
    found = in_regions(block(128, 0.05), ANY_VECTORS)
    halving = [node for node in found.nodes if isinstance(node.op, RegionConv) and node.op.window.strides == (2, 2)]
    assert len(halving) == 2 and len({node.inputs[0] for node in halving}) == 1


def test_dense_weights_stay_where_they_are() -> None:
    graph = block(128, 1)
    assert in_regions(graph, ANY_VECTORS) is graph


def test_what_saves_less_than_moving_takes_stays() -> None:
    """A convolution of one place for few outputs does not pay for its image's way there and back."""
    weights = np.zeros((1, 1, 16, 16), np.float32)
    weights[0, 0, ::8, ::2] = 1
    constants: dict[str, Array] = {"w": weights, "b": np.zeros(16, np.float32)}
    node = Node(Conv(Window((1, 1))), ("x", "w", "b"), "y", "thin")
    graph = Graph.of({"x": Type("float32", (1, 28, 28, 16))}, ["y"], [node], constants)
    assert in_regions(graph, ANY_VECTORS) is graph


def test_a_group_that_does_not_pay_leaves_though_another_does() -> None:
    """Of two thin layers after each other, one alone would move as much as both."""
    rng = np.random.default_rng(0)
    thin = np.zeros((1, 1, 16, 16), np.float32)
    thin[0, 0, ::8, ::2] = 1
    constants: dict[str, Array] = {"t": thin, "a": np.zeros(16, np.float32), "b": np.zeros(128, np.float32)}
    for name, channels in (("v", 16), ("w", 128)):
        kept = rng.random((3, 3, channels, 128)) < 0.05
        constants[name] = (rng.standard_normal(kept.shape) * kept).astype(np.float32)
    nodes = [
        Node(Conv(Window((1, 1))), ("x", "t", "a"), "thin", "1"),
        Node(Conv(Window((1, 1))), ("thin", "t", "a"), "thinner", "2"),
        Node(Pool("max", Window((2, 2), (2, 2))), ("thinner",), "half", "3"),
        Node(Conv(SAME), ("half", "v", "b"), "wide", "4"),
        Node(Conv(SAME), ("wide", "w", "b"), "y", "5"),
    ]
    graph = Graph.of({"x": Type("float32", (1, 28, 28, 16))}, ["y"], nodes, constants)
    found = kinds(in_regions(explicit_padding(graph), ANY_VECTORS))
    assert found == ["Conv", "Conv", "Pool", "ToRegions", "RegionConv", "RegionConv", "FromRegions"]


def test_padding_that_others_read_too_stays() -> None:
    graph = block(128, 0.05)
    padded = next(node.output for node in graph.nodes if isinstance(node.op, Pad))
    both = Graph.of(graph.inputs, [padded, "y"], graph.nodes, graph.constants)
    found = in_regions(both, ANY_VECTORS)
    assert kinds(found).count("Pad") == 1 and "RegionConv" in kinds(found)


def test_few_outputs_go_there_even_if_dense() -> None:
    """In channels last, each place computes whole blocks of 16."""
    constants: dict[str, Array] = {"w": np.ones((3, 3, 64, 3), np.float32), "b": np.zeros(3, np.float32)}
    graph = Graph.of({"x": Type("float32", (1, 56, 56, 64))}, ["y"], [Node(Conv(SAME), ("x", "w", "b"), "y", "")], constants)
    assert "RegionConv" in kinds(in_regions(explicit_padding(graph), ANY_VECTORS))


def test_a_padded_image_that_is_also_added_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer over regions pads for itself, but what it adds to its results must be there."""
    monkeypatch.setattr(regions, "MOVE", 0.0)
    rng = np.random.default_rng(0)
    seldom = (rng.standard_normal((3, 3, 64, 64)) * (rng.random((3, 3, 64, 64)) < 0.02)).astype(np.float32)
    bias = np.zeros(64, np.float32)
    nodes = [
        Node(Pad((0, 1, 1, 0), (0, 1, 1, 0), 0.0), ("x",), "p", "pad"),
        Node(Conv(Window((3, 3))), ("p", "w", "b"), "a", "1"),
        Node(Conv(SAME, 1, RELU), ("z", "w", "b", "p"), "y", "2"),
    ]
    shapes = {"x": (1, 12, 12, 64), "z": (1, 14, 14, 64)}
    inputs = {name: Type("float32", shape) for name, shape in shapes.items()}
    graph = explicit_padding(Graph.of(inputs, ("a", "y"), nodes, {"w": seldom, "b": bias}))
    found = in_regions(graph, ANY_VECTORS)
    assert kinds(found).count("RegionConv") == 2
    given = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    for got, wanted in zip(interpret(found, given).values(), interpret(graph, given).values(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
