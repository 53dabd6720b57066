from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler.frontend.network import load_network
from harness.compiler.ir import Graph
from harness.compiler.operators import Conv, Dense
from harness.errors import Unsupported

Array = npt.NDArray[Any]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantize_rounds_ties_to_even_and_saturates(
    network: Callable[..., Path], agrees: Callable[..., Graph], dtype: str
) -> None:
    constants = {"s": np.float32(0.5), "z": np.asarray(3, dtype)}
    path = network([("QuantizeLinear", ["x", "s", "z"], ["y"], {})], {"x": ("float32", [8])}, constants)
    agrees(path, inputs={"x": np.array([0.25, 0.75, -0.25, -0.75, 1e9, -1e9, 62.2, 0], np.float32)})


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_scales_along_an_axis(network: Callable[..., Path], agrees: Callable[..., Graph], axis: int) -> None:
    constants = {"s": np.array([0.5, 0.1, 2], np.float32), "z": np.array([0, 3, -5], np.int8)}
    nodes = [
        ("QuantizeLinear", ["x", "s", "z"], ["q"], {"axis": axis}),
        ("DequantizeLinear", ["q", "s", "z"], ["y"], {"axis": axis}),
    ]
    agrees(network(nodes, {"x": ("float32", [3, 3])}, constants))


@pytest.mark.parametrize("x_dtype", ["int8", "uint8"])
def test_integer_operators_become_integer_layers(
    network: Callable[..., Path], agrees: Callable[..., Graph], x_dtype: str
) -> None:
    rng = np.random.default_rng(0)
    constants: dict[str, Any] = {
        "sx": np.float32(0.05),
        "zx": np.asarray(7, x_dtype),
        "w": rng.integers(-128, 128, (5, 3, 3, 3)).astype(np.int8),
        "sw": rng.random(5, np.float32) * np.float32(0.01) + np.float32(0.001),
        "zw": np.zeros(5, np.int8),
        "sy": np.float32(0.3),
        "zy": np.asarray(11, x_dtype),
        "b": rng.integers(-500, 500, 5).astype(np.int32),
        "shape": np.array([1, -1]),
        "m": rng.integers(-128, 128, (180, 4)).astype(np.int8),
        "sm": np.float32(0.02),
        "zm": np.int8(0),
    }
    nodes = [
        ("QuantizeLinear", ["x", "sx", "zx"], ["q"], {}),
        ("QLinearConv", ["q", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b"], ["c"], {"pads": [1, 1, 1, 1]}),
        ("Reshape", ["c", "shape"], ["r"], {}),
        ("QLinearMatMul", ["r", "sy", "zy", "m", "sm", "zm", "sy", "zy"], ["y"], {}),
    ]
    graph = agrees(network(nodes, {"x": ("float32", [1, 3, 6, 6])}, constants), tolerance=0)
    layers = [node.op for node in graph.nodes if isinstance(node.op, Conv | Dense)]
    assert len(layers) == 2 and all(op.requantize is not None for op in layers)


def test_scales_that_are_computed_or_in_blocks_are_unsupported(network: Callable[..., Path]) -> None:
    with pytest.raises(Unsupported, match="`s` is computed at run time"):
        load_network(network([("QuantizeLinear", ["x", "s"], ["y"], {})], {"x": ("float32", [2]), "s": ("float32", [])}))
    constants = {"s": np.ones((1, 2), np.float32), "z": np.zeros((1, 2), np.int8)}
    blocked = network(
        [("QuantizeLinear", ["x", "s", "z"], ["y"], {"block_size": 2, "axis": 1})],
        {"x": ("float32", [1, 4])},
        constants,
        opset=21,
    )
    with pytest.raises(Unsupported, match="blocks"):
        load_network(blocked)


def test_parameters_that_are_quantized_but_constant_are_known(network: Callable[..., Path], agrees: Callable[..., Graph]) -> None:
    """As quantizers leave the gains of a layer normalization: bytes and a scale, behind two DequantizeLinear here."""
    constants: dict[str, Any] = {
        "g": np.array([12, -3, 90, 127], np.int8),
        "sg": np.float32(0.01),
        "zg": np.int8(0),
        "b": np.zeros(4, np.float32),
        "one": np.array([1], np.int64),
    }
    nodes: list[Any] = [
        ("DequantizeLinear", ["g", "sg", "zg"], ["gains"], {}),
        ("Unsqueeze", ["gains", "one"], ["column"], {}),
        ("Squeeze", ["column", "one"], ["row"], {}),
        ("LayerNormalization", ["x", "row", "b"], ["y"], {}),
    ]
    agrees(network(nodes, {"x": ("float32", [3, 4])}, constants))
