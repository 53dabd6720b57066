from __future__ import annotations

from collections.abc import Callable, Mapping
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
Row = tuple[list[int], list[int], dict[str, Any]]
CONVS: dict[str, Row] = {
    "plain": ([1, 3, 7, 6], [5, 3, 3, 3], {}),
    "padded and strided": ([2, 3, 7, 9], [17, 3, 3, 3], {"pads": [1, 0, 2, 1], "strides": [2, 3]}),
    "dilated": ([1, 4, 9, 9], [6, 4, 3, 2], {"dilations": [2, 3], "pads": [2, 2, 2, 2]}),
    "grouped": ([1, 6, 5, 5], [9, 2, 3, 3], {"group": 3, "pads": [1, 1, 1, 1]}),
    "depthwise": ([2, 19, 6, 7], [19, 1, 3, 3], {"group": 19, "pads": [1, 1, 1, 1], "strides": [2, 1]}),
    "depthwise with two filters": ([1, 5, 5, 5], [10, 1, 3, 3], {"group": 5}),
    "one by one": ([2, 20, 4, 5], [37, 20, 1, 1], {}),
    "signal": ([2, 3, 11], [4, 3, 5], {"strides": [2], "pads": [2, 1]}),
    "same upper": ([1, 2, 6, 7], [3, 2, 4, 3], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same lower": ([1, 2, 6, 7], [3, 2, 4, 3], {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "valid": ([1, 2, 6, 7], [3, 2, 4, 3], {"auto_pad": "VALID"}),
}
TRANSPOSED: dict[str, Row] = {
    "plain": ([1, 3, 4, 5], [3, 4, 3, 3], {}),
    "strided": ([2, 4, 3, 3], [4, 2, 4, 3], {"strides": [2, 3], "pads": [1, 0, 1, 1], "output_padding": [1, 1]}),
    "grouped and dilated": ([1, 4, 4, 4], [4, 3, 2, 2], {"group": 2, "dilations": [2, 1]}),
}
POOLS: dict[str, tuple[str, list[int], dict[str, Any]]] = {
    "max": ("MaxPool", [2, 3, 7, 7], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}),
    "max dilated": ("MaxPool", [1, 3, 8, 8], {"kernel_shape": [2, 2], "dilations": [2, 3]}),
    "max ceil": ("MaxPool", [1, 3, 7, 8], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "pads": [1, 1, 1, 1]}),
    "mean": ("AveragePool", [2, 3, 7, 7], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "mean over padding": ("AveragePool", [1, 3, 6, 6], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    "mean ceil": ("AveragePool", [1, 2, 6, 7], {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}),
    "signal": ("MaxPool", [1, 3, 9], {"kernel_shape": [3], "strides": [2]}),
    "all, mean": ("GlobalAveragePool", [2, 3, 4, 5], {}),
    "all, max": ("GlobalMaxPool", [2, 3, 4, 5], {}),
}


@pytest.fixture
def checked(
    agrees: Callable[..., Graph], run_c: Callable[..., list[Array]], inputs_of: Any, same: Any
) -> Callable[[Path], Graph]:
    """ONNX Runtime, interpreter and C answer alike."""

    def check(path: Path) -> Graph:
        graph = agrees(path)
        given = inputs_of(graph)
        for got, wanted in zip(run_c(graph, given), interpret(graph, given).values(), strict=True):
            same(got, wanted, "C", 1e-5)
        return graph

    return check


def several(rows: Mapping[str, Row], kind: str, *, bias_axis: int) -> tuple[list[Any], dict[str, Any], dict[str, Array]]:
    rng = np.random.default_rng(0)
    nodes, inputs, constants = [], {}, {}
    for index, (x, w, attributes) in enumerate(rows.values()):
        inputs[f"x{index}"] = ("float32", x)
        constants[f"w{index}"] = rng.standard_normal(w, np.float32)
        reads = [f"x{index}", f"w{index}"]
        if index % 2 == 0:
            constants[f"b{index}"] = rng.standard_normal(
                w[bias_axis] * (attributes.get("group", 1) if bias_axis else 1), np.float32
            )
            reads.append(f"b{index}")
        nodes.append((kind, reads, [f"y{index}"], attributes))
    return nodes, inputs, constants


@pytest.mark.toolchain
def test_convolutions(network: Callable[..., Path], checked: Callable[[Path], Graph]) -> None:
    nodes, inputs, constants = several(CONVS, "Conv", bias_axis=0)
    checked(network(nodes, inputs, constants, [f"y{i}" for i in range(len(nodes))]))


@pytest.mark.toolchain
def test_transposed_convolutions(network: Callable[..., Path], checked: Callable[[Path], Graph]) -> None:
    nodes, inputs, constants = several(TRANSPOSED, "ConvTranspose", bias_axis=1)
    checked(network(nodes, inputs, constants, [f"y{i}" for i in range(len(nodes))]))


@pytest.mark.toolchain
def test_pools(network: Callable[..., Path], checked: Callable[[Path], Graph]) -> None:
    nodes: list[Any] = [(kind, [f"x{i}"], [f"y{i}"], attributes) for i, (kind, _, attributes) in enumerate(POOLS.values())]
    inputs = {f"x{i}": ("float32", shape) for i, (_, shape, _) in enumerate(POOLS.values())}
    checked(network(nodes, inputs, outputs=[f"y{i}" for i in range(len(nodes))]))


@pytest.mark.toolchain
def test_local_responses(network: Callable[..., Path], checked: Callable[[Path], Graph]) -> None:
    """Windows of channels, within the image and wider than it."""
    sizes: list[dict[str, Any]] = [{"size": 3}, {"size": 5, "beta": 0.5, "bias": 2.0, "alpha": 0.7}, {"size": 9, "alpha": 0.9}]
    nodes: list[Any] = [("LRN", ["x"], [f"y{i}"], attributes) for i, attributes in enumerate(sizes)]
    checked(network(nodes, {"x": ("float32", [2, 7, 3, 4])}, outputs=[f"y{i}" for i in range(len(nodes))]))


@pytest.mark.toolchain
def test_products(network: Callable[..., Path], checked: Callable[[Path], Graph]) -> None:
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((6, 33), np.float32),
        "v": rng.standard_normal((21, 6), np.float32),
        "b": np.ones((1, 21), np.float32),
    }
    nodes: list[Any] = [
        ("Gemm", ["m", "w"], ["y0"], {"alpha": 0.5}),
        ("Gemm", ["m", "v", "b"], ["y1"], {"transB": 1, "beta": 2.0}),
        ("Gemm", ["n", "w", "per_row"], ["y2"], {"transA": 1}),
        ("MatMul", ["t", "w"], ["y3"], {}),
        ("MatMul", ["t", "u"], ["y4"], {}),
        ("MatMul", ["row", "w"], ["y5"], {}),
        ("MatMul", ["t", "row"], ["y6"], {}),
        ("MatMul", ["m", "n"], ["y7"], {}),
        ("Gemm", ["m", "n", "scalar"], ["y8"], {}),
    ]
    shapes = {"m": [5, 6], "n": [6, 5], "per_row": [5, 1], "t": [2, 3, 7, 6], "u": [3, 6, 18], "row": [6], "scalar": [1]}
    checked(network(nodes, {k: ("float32", v) for k, v in shapes.items()}, constants, [f"y{i}" for i in range(len(nodes))]))


@pytest.mark.toolchain
def test_reductions_and_rows(network: Callable[..., Path], checked: Callable[[Path], Graph]) -> None:
    constants = {
        "last": np.array([-1]),
        "outer": np.array([0, 2]),
        "g": np.arange(5, dtype=np.float32),
        "none": np.array([], np.int64),
    }
    nodes: list[Any] = [
        (kind, ["x", axes], [f"{kind}_{axes}"], {"keepdims": int(axes == "outer")})
        for kind in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare")
        for axes in ("last", "outer")
    ]
    nodes += [
        ("ReduceMean", ["x"], ["all"], {}),
        ("ReduceSum", ["x", "none"], ["untouched"], {"noop_with_empty_axes": 1}),
        ("Softmax", ["x"], ["softmax"], {}),
        ("Softmax", ["x"], ["softmax1"], {"axis": 1}),
        ("LogSoftmax", ["x"], ["logs"], {"axis": 0}),
        ("LayerNormalization", ["x", "g", "g"], ["layer"], {}),
        ("LayerNormalization", ["x", "gains"], ["layer1"], {"axis": 1, "epsilon": 1e-3}),
    ]
    constants["gains"] = np.ones((4, 5), np.float32) * 2
    outputs = [node[2][0] for node in nodes]
    checked(network(nodes, {"x": ("float32", [3, 4, 5])}, constants, outputs))


def test_softmax_of_old_opsets_is_over_all_axes_from_its_own(network: Callable[..., Path], agrees: Callable[..., Graph]) -> None:
    agrees(network([("Softmax", ["x"], ["y"], {"axis": 1})], {"x": ("float32", [2, 3, 4])}, opset=11))


def test_batch_normalization_becomes_a_scale_and_a_shift(network: Callable[..., Path], agrees: Callable[..., Graph]) -> None:
    rng = np.random.default_rng(0)
    constants = {name: rng.random(3, np.float32) + np.float32(0.5) for name in ("g", "b", "m", "v")}
    graph = agrees(
        network([("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"], {})], {"x": ("float32", [2, 3, 4, 4])}, constants)
    )
    assert [type(node.op).__name__ for node in graph.nodes] == ["Map"]


@pytest.mark.parametrize(
    ("kind", "shapes", "attributes", "why"),
    [
        ("Conv", [[1, 2, 5, 5], [3, 2, 3, 3]], {}, "weights are computed at run time"),
        ("Conv", [[1, 2, 5, 5, 5], [3, 2, 3, 3, 3]], {}, "5 axes"),
        (
            "AveragePool",
            [[1, 2, 6, 6]],
            {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "count_include_pad": 1},
            "ceil_mode",
        ),
    ],
)
def test_what_is_not_compiled_names_the_node(
    network: Callable[..., Path], kind: str, shapes: list[list[int]], attributes: dict[str, Any], why: str
) -> None:
    inputs = {f"x{i}": ("float32", shape) for i, shape in enumerate(shapes)}
    with pytest.raises(Unsupported, match=rf"node `{kind}_0` .*{why}"):
        load_network(network([(kind, list(inputs), ["y"], attributes)], inputs))
