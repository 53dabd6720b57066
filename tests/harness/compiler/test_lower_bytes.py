"""Products of bytes on every instruction set that has its own way to them, at the greatest values that there are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.operators import Conv, Dense, Requantize, Window

Array = npt.NDArray[Any]
pytestmark = pytest.mark.toolchain


def layers() -> tuple[Graph, dict[str, Array]]:
    """Values of either sign at their limits, against weights at theirs: with -128, two of whose products leave 16 bits, and without."""
    rng = np.random.default_rng(0)
    inputs: dict[str, Type] = {}
    constants: dict[str, Any] = {}
    given: dict[str, Array] = {}
    nodes = []
    for dtype, low in (("int8", -128), ("uint8", 0)):
        for least in (-128, -127):
            name = f"{dtype}{least}"
            rows = [
                np.full(37, low),
                np.full(37, low + 255),
                low + 255 * rng.integers(0, 2, 37),
                rng.integers(low, low + 256, 37),
            ]
            columns = [np.full(37, least), np.full(37, 127), rng.choice([least, 127], 37), *rng.integers(least, 128, (17, 37))]
            given[f"x{name}"] = np.array(rows, dtype)
            given[f"z{name}"] = rng.integers(low, low + 256, (1, 5, 19, 4)).astype(dtype)
            constants |= {
                f"w{name}": np.array(columns, np.int8).T,
                f"v{name}": rng.integers(least, 128, (3, 3, 4, 33)).astype(np.int8),
            }
            for layer, source, weights, op in (
                ("d", "x", "w", lambda q: Dense(requantize=q)),
                ("c", "z", "v", lambda q: Conv(Window((3, 3)), requantize=q)),
            ):
                outputs = constants[weights + name].shape[-1]
                inputs[source + name] = Type(dtype, given[source + name].shape)
                constants[f"b{outputs}"] = rng.integers(-9999, 9999, outputs).astype(np.int32)
                constants[f"m{outputs}"] = np.full(outputs, 2e-4, np.float32)
                names = (source + name, weights + name, f"b{outputs}", f"m{outputs}")
                nodes.append(Node(op(Requantize(low + 3, low + 128, dtype, low, low + 255)), names, layer + name, layer + name))
                nodes.append(
                    Node(op(Requantize(low + 3, 0, "float32", -9, math.inf)), names, f"{layer}{name} real", layer + name)
                )
    return Graph.of(inputs, [node.output for node in nodes], nodes, constants), given


def test_sums_of_the_greatest_products_are_exact(on_machine: Callable[[Graph, dict[str, Array]], list[Array]]) -> None:
    graph, given = layers()
    for got, (name, wanted) in zip(on_machine(graph, given), interpret(graph, given).items(), strict=True):
        np.testing.assert_array_equal(got, wanted, err_msg=name)
        assert len(np.unique(got)) > 3  # not all at the limits
