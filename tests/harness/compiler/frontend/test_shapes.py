from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler.frontend.network import load_network
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph
from harness.errors import Unsupported

Array = npt.NDArray[Any]


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


MOVES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("Reshape", {"shape": ints(0, -1, 2)}, {}),
    ("Flatten", {}, {"axis": 2}),
    ("Flatten", {}, {"axis": -1}),
    ("Unsqueeze", {"axes": ints(0, -1)}, {}),
    ("Transpose", {}, {"perm": [2, 0, 3, 1]}),
    ("Transpose", {}, {}),
    ("Expand", {"shape": ints(3, 1, 1, 1, 6)}, {}),
    ("Tile", {"repeats": ints(1, 2, 1, 3)}, {}),
    ("Slice", {"starts": ints(1, -1), "ends": ints(4, -100), "axes": ints(1, 3), "steps": ints(2, -1)}, {}),
    ("Slice", {"starts": ints(0, 1), "ends": ints(9, 3)}, {}),
    ("Gather", {"indices": ints(2, 0, -1)}, {"axis": 1}),
    ("Gather", {"indices": np.array(1)}, {"axis": 2}),
    ("Gather", {"indices": np.array([[0, 1], [1, 0]])}, {"axis": 0}),
    ("Pad", {"pads": ints(0, 0, 1, 2, 0, 0, 0, 1)}, {}),
    ("Pad", {"pads": ints(1, 0, 1, 2, 0, 2, 0, 1), "value": np.float32(7)}, {}),
    ("Pad", {"pads": ints(0, 0, 1, 2, 0, 0, 0, 1)}, {"mode": "reflect"}),
    ("Pad", {"pads": ints(0, 1, 1, 2, 0, 0, 0, 1)}, {"mode": "edge"}),
    ("DepthToSpace", {}, {"blocksize": 2}),
    ("DepthToSpace", {}, {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", {}, {"blocksize": 2}),
]
RESIZES: list[dict[str, Any]] = [
    {"mode": mode, "coordinate_transformation_mode": how, **more}
    for mode, more in (
        ("nearest", {}),
        ("nearest", {"nearest_mode": "floor"}),
        ("nearest", {"nearest_mode": "ceil"}),
        ("linear", {}),
    )
    for how in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
]


@pytest.mark.toolchain
def test_moves(
    network: Callable[..., Path], agrees: Callable[..., Graph], run_c: Callable[..., list[Array]], inputs_of: Any, same: Any
) -> None:
    nodes: list[Any] = []
    constants: dict[str, Any] = {}
    for index, (kind, more, attributes) in enumerate(MOVES):
        names = [f"{name}{index}" for name in more]
        constants |= dict(zip(names, more.values(), strict=True))
        nodes.append((kind, ["x", *names], [f"y{index}"], attributes))
    nodes.append(("Split", ["x", "parts"], ["s0", "s1"], {"axis": 1}))
    nodes.append(("Split", ["x"], ["h0", "h1", "h2"], {"axis": 3, "num_outputs": 3}))
    nodes.append(("Concat", ["s1", "x", "s0"], ["joined"], {"axis": 1}))
    nodes.append(("Squeeze", ["one"], ["squeezed"], {}))
    nodes.append(("Shape", ["x"], ["shape"], {"start": 1}))
    outputs = [f"y{index}" for index in range(len(MOVES))] + ["h0", "h2", "joined", "squeezed", "shape"]
    constants["parts"] = ints(1, 3)
    path = network(nodes, {"x": ("float32", [2, 4, 2, 6]), "one": ("float32", [1, 3, 1])}, constants, outputs)
    graph = agrees(path, tolerance=0)
    given = inputs_of(graph)
    for got, wanted, name in zip(run_c(graph, given), interpret(graph, given).values(), outputs, strict=True):
        same(got, wanted, name, 0)


@pytest.mark.parametrize("sizes", [(7, 3), (10, 9), (2, 1)])
def test_resizing(network: Callable[..., Path], agrees: Callable[..., Graph], sizes: tuple[int, int]) -> None:
    nodes = [("Resize", ["x", "", "", "sizes"], [f"y{i}"], attributes) for i, attributes in enumerate(RESIZES)]
    outputs = [f"y{i}" for i in range(len(RESIZES))]
    agrees(network(nodes, {"x": ("float32", [1, 2, 5, 3])}, {"sizes": ints(1, 2, *sizes)}, outputs))


def test_resizing_by_scales(network: Callable[..., Path], agrees: Callable[..., Graph]) -> None:
    nodes = [("Resize", ["x", "", "scales"], ["y"], {"mode": "linear"}), ("Resize", ["x", "", "scales"], ["z"], {})]
    agrees(network(nodes, {"x": ("float32", [1, 2, 5, 4])}, {"scales": np.array([1, 1, 1.5, 2.3], np.float32)}, ["y", "z"]))


def test_gathering_by_numbers_known_at_run_time(
    network: Callable[..., Path], agrees: Callable[..., Graph], run_c: Callable[..., list[Array]]
) -> None:
    table = np.arange(20, dtype=np.float32).reshape(5, 4)
    path = network([("Gather", ["table", "i"], ["y"], {})], {"i": ("int64", [2, 3])}, {"table": table})
    given = {"i": np.array([[0, 4, -1], [2, 2, -5]])}
    np.testing.assert_array_equal(interpret(agrees(path, inputs=given, tolerance=0), given)["y"], table[given["i"]])


@pytest.mark.toolchain
def test_a_number_beyond_the_table_reads_nothing_else(network: Callable[..., Path], run_c: Callable[..., list[Array]]) -> None:
    table = np.arange(20, dtype=np.float32).reshape(5, 4)
    graph = load_network(network([("Gather", ["table", "i"], ["y"], {})], {"i": ("int64", [3])}, {"table": table}))
    (found,) = run_c(graph, {"i": np.array([-1, 5, -(2**62)])})
    np.testing.assert_array_equal(found, table[[4, 4, 0]])


def test_shapes_that_are_computed_are_constants(network: Callable[..., Path], agrees: Callable[..., Graph]) -> None:
    """The usual way of exporters to flatten: Shape, Gather, Concat, Reshape."""
    nodes = [
        ("Shape", ["x"], ["s"], {}),
        ("Gather", ["s", "zero"], ["n"], {}),
        ("Unsqueeze", ["n", "axis"], ["n1"], {}),
        ("Concat", ["n1", "rest"], ["shape"], {"axis": 0}),
        ("Reshape", ["x", "shape"], ["r"], {}),
        ("ConstantOfShape", ["shape2"], ["zeros"], {}),
        ("Add", ["r", "zeros"], ["y"], {}),
    ]
    constants = {"zero": np.array(0), "axis": ints(0), "rest": ints(-1), "shape2": ints(1)}
    graph = agrees(network(nodes, {"x": ("float32", [2, 3, 4])}, constants))
    assert [type(node.op).__name__ for node in graph.nodes] == ["Reshape", "Map"]


@pytest.mark.parametrize(
    ("node", "constants", "why"),
    [
        (("Resize", ["x", "", "", "sizes"], ["y"], {"mode": "cubic"}), {"sizes": ints(1, 2, 4, 4)}, "mode cubic"),
        (("Pad", ["x", "pads"], ["y"], {"mode": "wrap"}), {"pads": ints(0, 0, 0, 1, 0, 0, 0, 0)}, "mode wrap"),
        (("Pad", ["x", "pads"], ["y"], {}), {"pads": ints(0, 0, 0, -1, 0, 0, 0, 0)}, "negative pads"),
        (("Reshape", ["x", "shape"], ["y"], {}), {"shape": ints(5, 5)}, "another number of elements"),
        (("Gather", ["x", "i"], ["y"], {}), {"i": ints(9)}, "beyond 1"),
        (("Slice", ["x", "a", "a"], ["y"], {}), {"a": ints(1)}, "without elements"),
    ],
)
def test_what_is_not_compiled_names_the_node(
    network: Callable[..., Path], node: tuple[str, list[str], list[str], dict[str, Any]], constants: dict[str, Array], why: str
) -> None:
    with pytest.raises(Unsupported, match=rf"node `{node[0]}_0`.*{why}"):
        load_network(network([node], {"x": ("float32", [1, 2, 3, 3])}, constants))


def test_a_shape_that_inputs_decide_is_unsupported(network: Callable[..., Path]) -> None:
    path = network([("Reshape", ["x", "s"], ["y"], {})], {"x": ("float32", [6]), "s": ("int64", [2])})
    with pytest.raises(Unsupported, match="`s` is computed at run time"):
        load_network(path)
