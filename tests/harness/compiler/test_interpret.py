from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler.expression import Input
from harness.compiler.interpret import interpret, windows
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.operators import Conv, Map, Window

Array = npt.NDArray[Any]


def test_a_convolution_is_the_sum_that_its_definition_says() -> None:
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((1, 5, 6, 4)), rng.standard_normal((2, 3, 2, 6)), rng.standard_normal(6)
    window = Window((2, 3), (2, 1), (1, 1, 0, 2), (2, 1))
    arrays = {name: array.astype(np.float32) for name, array in {"w": w, "b": b}.items()}
    graph = Graph.of({"x": Type("float32", x.shape)}, ["y"], [Node(Conv(window, 2), ("x", "w", "b"), "y", "")], arrays)
    found = interpret(graph, {"x": x.astype(np.float32)})["y"]
    for (_, row, column, output), value in np.ndenumerate(found):
        total = b[output]
        for i in range(2):
            for j in range(3):
                v, h = row * 2 - 1 + i * 2, column - 1 + j
                if 0 <= v < 5 and 0 <= h < 6:
                    for channel in range(2):
                        total += x[0, v, h, 2 * (output // 3) + channel] * w[i, j, channel, output]
        assert abs(total - value) < 1e-4


def test_windows_see_padding_as_the_value_given() -> None:
    seen = windows(np.ones((1, 2, 2, 1)), Window((2, 2), pads=(1, 1, 0, 0)), 5)
    assert seen.shape == (1, 2, 2, 2, 2, 1)
    assert seen[0, 0, 0, ..., 0].tolist() == [[5, 5], [5, 1]] and seen[0, 1, 1, ..., 0].tolist() == [[1, 1], [1, 1]]


def test_inputs_of_another_type_are_refused() -> None:
    graph = Graph.of({"x": Type("float32", (2,))}, ["y"], [Node(Map(Input(0), (2,)), ("x",), "y", "")], {})
    for wrong in (np.zeros(2), np.zeros(3, np.float32)):
        with pytest.raises(ValueError, match="input `x` is"):
            interpret(graph, {"x": wrong})
