from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.compiler.frontend.network import load_network
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph
from harness.compiler.passes.maps import MOST_INPUTS, fuse_maps


def fused(path: Path, inputs_of: Callable[..., Any]) -> Graph:
    graph = load_network(path)
    given, found = inputs_of(graph), fuse_maps(graph)
    for name, wanted in interpret(graph, given).items():
        np.testing.assert_array_equal(interpret(found, given)[name], wanted)
    return found


def test_a_chain_becomes_one(network: Callable[..., Path], inputs_of: Callable[..., Any]) -> None:
    nodes: list[Any] = [
        ("Sigmoid", ["x"], ["a"], {}),
        ("Mul", ["x", "a"], ["b"], {}),
        ("Add", ["b", "z"], ["c"], {}),
        ("Relu", ["c"], ["y"], {}),
    ]
    graph = fused(network(nodes, {"x": ("float32", [2, 3]), "z": ("float32", [3])}), inputs_of)
    assert len(graph.nodes) == 1 and set(graph.nodes[0].inputs) == {"x", "z"}


def test_what_two_nodes_or_the_caller_read_is_kept(network: Callable[..., Path], inputs_of: Callable[..., Any]) -> None:
    nodes: list[Any] = [
        ("Exp", ["x"], ["a"], {}),
        ("Neg", ["a"], ["b"], {}),
        ("Abs", ["a"], ["c"], {}),
        ("Sqrt", ["c"], ["y"], {}),
    ]
    graph = fused(network(nodes, {"x": ("float32", [4])}, outputs=["b", "c", "y"]), inputs_of)
    assert len(graph.nodes) == 4


def test_what_is_broadcast_is_not_computed_for_each_place_again(
    network: Callable[..., Path], inputs_of: Callable[..., Any]
) -> None:
    nodes: list[Any] = [("Exp", ["x"], ["a"], {}), ("Add", ["a", "z"], ["y"], {})]
    graph = fused(network(nodes, {"x": ("float32", [3]), "z": ("float32", [5, 3])}), inputs_of)
    assert len(graph.nodes) == 2


def test_joined_maps_have_at_most_so_many_inputs(network: Callable[..., Path], inputs_of: Callable[..., Any]) -> None:
    names = [f"x{i}" for i in range(MOST_INPUTS + 3)]
    graph = fused(network([("Sum", names, ["y"], {})], {name: ("float32", [2]) for name in names}), inputs_of)
    assert len(graph.nodes) == 2 and max(len(node.inputs) for node in graph.nodes) == MOST_INPUTS
