from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler.frontend.elementwise import BINARY, FORMULAS, SWAPPED, UNARY
from harness.compiler.frontend.network import load_network
from harness.compiler.ir import Graph
from harness.compiler.pipeline import optimized
from harness.errors import Unsupported

Array = npt.NDArray[Any]
LOGICAL, POSITIVE = {"And", "Or", "Xor", "Not"}, {"Log", "Sqrt", "Pow"}
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("Relu", {}),
    ("LeakyRelu", {"alpha": 0.3}),
    ("HardSigmoid", {"alpha": 0.25, "beta": 0.4}),
    ("Elu", {"alpha": 1.5}),
    ("Celu", {"alpha": 0.7}),
    ("Selu", {}),
    ("Gelu", {}),
    ("Gelu", {"approximate": "tanh"}),
    ("com.microsoft.Gelu", {}),
    ("Identity", {}),
    ("Cast", {"to": 6}),
    ("Cast", {"to": 9}),
]


@pytest.mark.toolchain
def test_all_of_one_input_in_one_program(
    network: Callable[..., Path], agrees: Callable[..., Graph], run_c: Callable[..., list[Array]], same: Callable[..., None]
) -> None:
    """Every operator is an output of one network, so that one compilation checks them all, far from 0 and near it."""
    singles: list[tuple[str, dict[str, Any]]] = [
        (kind, {}) for kind in (*UNARY, "HardSwish", "Mish", "Softsign") if kind not in LOGICAL
    ] + OTHERS
    nodes: list[Any] = []
    for index, (kind, attributes) in enumerate(singles):
        reads = ["positive"] if kind in POSITIVE else ["x"]
        nodes.append((kind, reads, [f"y{index}"], attributes))
    path = network(
        nodes,
        {"x": ("float32", [4, 40]), "positive": ("float32", [4, 40])},
        outputs=[f"y{index}" for index in range(len(nodes))],
    )
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal((2, 40)) * 5, rng.standard_normal((2, 40)) * 0.01]).astype(np.float32)
    x[0, :4] = 0, -0.5, 2.5, -3.5
    given = {"x": x, "positive": np.abs(x) + np.float32(0.1)}
    graph = agrees(path, inputs=given, tolerance=2e-6)
    from harness.compiler.interpret import interpret

    for got, wanted, (kind, _) in zip(run_c(graph, given), interpret(graph, given).values(), singles, strict=True):
        same(got, wanted, kind, 2e-6)


@pytest.mark.toolchain
def test_all_of_two_inputs_in_one_program(
    network: Callable[..., Path], agrees: Callable[..., Graph], run_c: Callable[..., list[Array]], same: Callable[..., None]
) -> None:
    nodes: list[Any] = []
    for index, kind in enumerate((*BINARY, *SWAPPED)):
        reads = ["p", "q"] if kind in LOGICAL else ["positive", "z"] if kind in POSITIVE else ["x", "z"]
        nodes.append((kind, reads, [f"y{index}"], {}))
    nodes.append(("Where", ["p", "x", "z"], ["chosen"], {}))
    nodes.append(("PRelu", ["x", "z"], ["sloped"], {}))
    nodes.append(("Max", ["x", "z", "positive"], ["three"], {}))
    nodes.append(("Clip", ["x", "low", "high"], ["clipped"], {}))
    inputs = {"x": [2, 3, 4], "z": [3, 1], "positive": [2, 1, 4]}
    declared = {name: ("float32", shape) for name, shape in inputs.items()} | {"p": ("bool", [3, 4]), "q": ("bool", [2, 3, 1])}
    outputs = [f"y{index}" for index in range(len(BINARY) + len(SWAPPED))] + ["chosen", "sloped", "three", "clipped"]
    path = network(nodes, declared, {"low": np.float32(-0.5), "high": np.float32(0.25)}, outputs)
    rng = np.random.default_rng(1)
    given: dict[str, Array] = {name: rng.standard_normal(shape, np.float32) for name, shape in inputs.items()}
    given |= {"positive": np.abs(given["positive"]), "p": rng.random((3, 4)) < 0.5, "q": rng.random((2, 3, 1)) < 0.5}
    graph = agrees(path, inputs=given)
    from harness.compiler.interpret import interpret

    for got, wanted, name in zip(run_c(graph, given), interpret(graph, given).values(), outputs, strict=True):
        same(got, wanted, name, 2e-6)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 3.0, 1.7])
def test_powers_by_a_constant(network: Callable[..., Path], agrees: Callable[..., Graph], exponent: float) -> None:
    path = network([("Pow", ["x", "e"], ["y"], {})], {"x": ("float32", [5])}, {"e": np.float32(exponent)})
    agrees(path, inputs={"x": np.array([0.0, 0.5, 1, 2, 9], np.float32)})


def test_integers_are_compared_and_added_but_not_divided(network: Callable[..., Path], agrees: Callable[..., Graph]) -> None:
    declared = {"x": ("int64", [3]), "z": ("int64", [3])}
    nodes: list[Any] = [("Equal", ["x", "z"], ["e"], {}), ("Add", ["x", "z"], ["s"], {}), ("Cast", ["e"], ["y"], {"to": 1})]
    agrees(network(nodes, declared, outputs=["y", "s"]))
    from harness.compiler.emit import emitted

    divided = load_network(network([("Div", ["x", "z"], ["y"], {})], declared))
    with pytest.raises(Unsupported, match=r"`Div_0`: div of int64 at run time"):
        emitted(optimized(divided))


def test_formulas_and_tables_are_disjoint() -> None:
    assert not {*UNARY} & {*BINARY} and not {*FORMULAS} & {*UNARY, *BINARY, *SWAPPED}


def test_another_alpha_of_swish_is_unsupported(network: Callable[..., Path]) -> None:
    path = network([("Swish", ["x"], ["y"], {"alpha": 2.0})], {"x": ("float32", [3])}, opset=24)
    with pytest.raises(Unsupported, match="alpha"):
        load_network(path)
