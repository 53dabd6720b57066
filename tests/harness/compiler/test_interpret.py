from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.compiler.expression import Input
from harness.compiler.interpret import interpret, windows
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.operators import Conv, Map, Window

Array = npt.NDArray[Any]
Nodes = list[tuple[str, list[str], list[str], dict[str, Any]]]
IS_NIGHTLY = "ASSAY_NIGHTLY" in os.environ
RANDOM_NETWORKS = 1000 if IS_NIGHTLY else 3


def random_network(seed: int) -> tuple[Nodes, dict[str, tuple[str, list[int]]], dict[str, Array]]:
    """Five to ten layers one after the other over an image, with branches that come together again, then perhaps a classifier."""
    rng = np.random.default_rng(seed)
    constants: dict[str, Array] = {}
    nodes: Nodes = []

    def pick(*values: Any) -> Any:
        return values[rng.integers(len(values))]

    def constant(*shape: int) -> str:
        constants[f"k{len(constants)}"] = rng.uniform(-1, 1, shape).astype(np.float32)
        return f"k{len(constants) - 1}"

    def integers(*values: int) -> str:
        constants[f"k{len(constants)}"] = np.array(values, np.int64)
        return f"k{len(constants) - 1}"

    def add(kind: str, *inputs: str, **attributes: Any) -> str:
        nodes.append((kind, list(inputs), [f"t{len(nodes)}"], attributes))
        return f"t{len(nodes) - 1}"

    shape = [int(rng.integers(1, 3)), int(rng.integers(1, 20)), int(rng.integers(4, 10)), int(rng.integers(4, 10))]
    inputs = {"x": ("float32", list(shape))}
    x = "x"
    for _ in range(rng.integers(5, 11)):
        _, c, h, w = shape
        kind = pick(
            "conv",
            "conv",
            "conv",
            "depthwise",
            "pool",
            "unary",
            "channel",
            "residual",
            "concat",
            "slice",
            "pad",
            "transpose",
            "softmax",
            "gate",
        )
        if kind == "conv":
            groups = pick(1, 1, 1, *(g for g in (2, 3) if c % g == 0))
            outputs, k, stride, dilation = groups * int(rng.integers(1, 21)), pick(1, 3), pick(1, 1, 2), pick(1, 1, 2)
            pad = pick(0, dilation) if dilation * (k - 1) < min(h, w) else dilation
            attributes = {"group": groups, "strides": [stride] * 2, "dilations": [dilation] * 2, "pads": [pad] * 4}
            x = add(
                "Conv",
                x,
                constant(outputs, c // groups, k, k),
                *([constant(outputs)] if rng.random() < 0.5 else []),
                **attributes,
            )
            shape[1:] = [outputs, *((size + 2 * pad - dilation * (k - 1) - 1) // stride + 1 for size in (h, w))]
        elif kind == "depthwise":
            x = add("Conv", x, constant(c, 1, 3, 3), group=c, pads=[1, 1, 1, 1])
        elif kind == "pool" and min(h, w) >= 3:
            x = add(pick("MaxPool", "AveragePool"), x, kernel_shape=[2, 3], strides=[1, 2], pads=[0, 1, 1, 0])
            shape[3] = (w + 1 - 3) // 2 + 1
        elif kind == "unary":
            x = add(pick("Relu", "Sigmoid", "HardSwish", "Gelu", "Tanh", "Softplus", "LeakyRelu"), x)
        elif kind == "channel":
            x = add(pick("Add", "Mul", "Sub"), x, constant(c, 1, 1) if rng.random() < 0.7 else constant(1))
        elif kind == "residual":
            x = add("Add", add("Conv", x, constant(c, c, 1, 1)), x)
        elif kind == "concat":
            x = add("Concat", x, add("Relu", x), axis=1)
            shape[1] = 2 * c
        elif kind == "slice" and min(h, w) > 3:
            x = add("Slice", x, integers(1, 0), integers(h, w - 1), integers(2, 3), integers(pick(1, 2), 1))
            step = int(constants[f"k{len(constants) - 1}"][0])
            shape[2:] = [-(-(h - 1) // step), w - 1]
        elif kind == "pad":
            x = add("Pad", x, integers(0, 0, 1, 0, 0, pick(0, 1), 0, 2))
            shape[1:] = [c + int(constants[f"k{len(constants) - 1}"][5]), h + 1, w + 2]
        elif kind == "transpose":
            x = add("Transpose", x, perm=[0, 1, 3, 2])
            shape[2:] = [w, h]
        elif kind == "softmax":
            x = add("Softmax", x, axis=pick(1, 2, 3))
        elif kind == "gate":
            x = add("Mul", x, add("Sigmoid", add("Conv", add("GlobalAveragePool", x), constant(c, c, 1, 1))))
    if rng.random() < 0.5:
        flat = add("Flatten", add("GlobalAveragePool", x) if rng.random() < 0.5 else x)
        size = shape[1] if nodes[-2][0] == "GlobalAveragePool" else shape[1] * shape[2] * shape[3]
        x = add("Gemm", flat, constant(size, 7), constant(7))
    nodes.append(("Identity", [x], ["y"], {}))
    return nodes, inputs, constants


@settings(
    max_examples=2000 if IS_NIGHTLY else 25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_networks_mean_what_onnxruntime_says(
    network: Callable[..., Path], agrees: Callable[..., Graph], seed: int
) -> None:
    agrees(network(*random_network(seed)), tolerance=1e-3)


@pytest.mark.toolchain
def test_random_networks_in_c(
    network: Callable[..., Path], agrees: Callable[..., Graph], run_c: Callable[..., list[Array]], inputs_of: Any, same: Any
) -> None:
    for seed in range(RANDOM_NETWORKS):
        graph = agrees(network(*random_network(seed)), tolerance=1e-3)
        given_inputs = inputs_of(graph)
        for got, wanted in zip(run_c(graph, given_inputs), interpret(graph, given_inputs).values(), strict=True):
            same(got, wanted, f"C of network {seed}", 1e-4)


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
