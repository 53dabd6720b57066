from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.operators import Conv, Pad, Requantize, Window
from harness.compiler.passes.padding import explicit_padding


@pytest.mark.parametrize("requantize", [None, Requantize(7, 3, "uint8", 0, 255)])
def test_padding_is_by_what_stands_for_zero(requantize: Requantize | None) -> None:
    rng = np.random.default_rng(0)
    dtypes = ("float32",) * 3 if requantize is None else ("uint8", "int8", "int32")
    x, w, b = (rng.integers(0, 9, s).astype(d) for s, d in zip(((1, 4, 4, 2), (3, 3, 2, 3), (3,)), dtypes, strict=True))
    constants: dict[str, Any] = {"w": w, "b": b}
    reads = ("x", "w", "b")
    if requantize is not None:
        constants["m"], reads = np.full(3, 0.1, np.float32), (*reads, "m")  # type: ignore[assignment]
    conv = Conv(Window((3, 3), pads=(1, 0, 2, 1)), requantize=requantize)
    graph = Graph.of({"x": Type(x.dtype.name, x.shape)}, ["y"], [Node(conv, reads, "y", "c")], constants)
    found = explicit_padding(graph)
    pad, layer = (node.op for node in found.nodes)
    assert pad == Pad((0, 1, 0, 0), (0, 2, 1, 0), 0.0 if requantize is None else 7.0)
    assert isinstance(layer, Conv) and layer.window.pads == (0, 0, 0, 0)
    np.testing.assert_array_equal(interpret(found, {"x": x})["y"], interpret(graph, {"x": x})["y"])


def test_a_layer_without_is_left_alone(network: Callable[..., Path], agrees: Callable[..., Graph]) -> None:
    graph = agrees(
        network([("Conv", ["x", "w"], ["y"], {})], {"x": ("float32", [1, 2, 4, 4])}, {"w": np.ones((1, 2, 2, 2), np.float32)})
    )
    assert explicit_padding(graph) == graph
