from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.compiler.frontend.network import load_network
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph
from harness.compiler.operators import Clamp, Conv, Dense
from harness.compiler.passes.epilogues import fuse_epilogues
from harness.compiler.passes.transposes import sink_transposes


def fused(path: Path, inputs_of: Callable[..., Any]) -> Graph:
    graph = sink_transposes(load_network(path))
    given, found = inputs_of(graph), fuse_epilogues(graph)
    for name, wanted in interpret(graph, given).items():
        np.testing.assert_allclose(interpret(found, given)[name], wanted, rtol=1e-5, atol=1e-5)
    return found


def layers(graph: Graph) -> list[Any]:
    return [node.op for node in graph.nodes if isinstance(node.op, Conv | Dense)]


def test_batch_normalization_and_activation_become_the_layers_own(
    network: Callable[..., Path], inputs_of: Callable[..., Any]
) -> None:
    rng = np.random.default_rng(0)
    constants: dict[str, Any] = {name: rng.random(4, np.float32) + np.float32(0.5) for name in "gbmv"}
    constants |= {"w": rng.standard_normal((4, 3, 3, 3), np.float32), "low": np.float32(-1), "high": np.float32(0.5)}
    nodes: list[Any] = [
        ("Conv", ["x", "w"], ["c"], {}),
        ("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"], {}),
        ("Clip", ["n", "low", "high"], ["y"], {}),
    ]
    graph = fused(network(nodes, {"x": ("float32", [1, 3, 6, 6])}, constants), inputs_of)
    assert [type(node.op).__name__ for node in graph.nodes] == ["Transpose", "Conv", "Transpose"]
    assert layers(graph)[0].clamp == Clamp(-1, 0.5)


def test_the_later_of_two_layers_takes_the_other_as_its_residual(
    network: Callable[..., Path], inputs_of: Callable[..., Any]
) -> None:
    rng = np.random.default_rng(0)
    constants = {"w": rng.standard_normal((6, 6), np.float32), "v": rng.standard_normal((6, 6), np.float32)}
    nodes: list[Any] = [
        ("MatMul", ["x", "w"], ["a"], {}),
        ("MatMul", ["x", "v"], ["b"], {}),
        ("Add", ["a", "b"], ["c"], {}),
        ("Relu", ["c"], ["d"], {}),
        ("Add", ["d", "x"], ["y"], {}),
    ]
    graph = fused(network(nodes, {"x": ("float32", [4, 6])}, constants), inputs_of)
    first, second = (node for node in graph.nodes if isinstance(node.op, Dense))
    assert len(first.inputs) == 3 and second.inputs[3] == first.output and second.op.clamp == Clamp(0)  # type: ignore[attr-defined]
    assert len(graph.nodes) == 3  # what comes after the clamp stays outside


def test_what_another_node_reads_too_is_left_as_it_is(network: Callable[..., Path], inputs_of: Callable[..., Any]) -> None:
    constants: dict[str, Any] = {"w": np.eye(3, dtype=np.float32)}
    nodes: list[Any] = [("MatMul", ["x", "w"], ["a"], {}), ("Relu", ["a"], ["r"], {}), ("Sub", ["a", "r"], ["y"], {})]
    graph = fused(network(nodes, {"x": ("float32", [2, 3])}, constants), inputs_of)
    assert layers(graph)[0].clamp == Clamp()


def test_clamps_in_any_order_mean_what_they_say(network: Callable[..., Path], inputs_of: Callable[..., Any]) -> None:
    constants: dict[str, Any] = {"w": np.eye(3, dtype=np.float32), "low": np.float32(0.4), "high": np.float32(-0.2)}
    for first, second in (("Max", "Min"), ("Min", "Max")):
        bounds = {"Max": "low", "Min": "high"}
        nodes: list[Any] = [
            ("MatMul", ["x", "w"], ["a"], {}),
            (first, ["a", bounds[first]], ["b"], {}),
            (second, ["b", bounds[second]], ["y"], {}),
        ]
        graph = fused(network(nodes, {"x": ("float32", [2, 3])}, constants), inputs_of)
        assert len(graph.nodes) == 1


def test_a_shift_that_differs_from_row_to_row_is_no_bias(network: Callable[..., Path], inputs_of: Callable[..., Any]) -> None:
    constants: dict[str, Any] = {"w": np.eye(3, dtype=np.float32), "k": np.arange(2, dtype=np.float32).reshape(2, 1)}
    nodes: list[Any] = [("MatMul", ["x", "w"], ["a"], {}), ("Add", ["a", "k"], ["y"], {})]
    assert len(fused(network(nodes, {"x": ("float32", [2, 3])}, constants), inputs_of).nodes) == 2
