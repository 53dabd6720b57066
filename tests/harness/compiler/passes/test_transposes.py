from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.compiler.frontend.network import load_network
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.operators import Reshape, Transpose
from harness.compiler.passes.transposes import moves_nothing, sink_transposes
from harness.compiler.pipeline import optimized


def counts(graph: Graph) -> Counter[str]:
    return Counter(type(node.op).__name__ for node in graph.nodes)


def unchanged(graph: Graph, inputs: Any) -> Graph:
    found = sink_transposes(graph)
    for name, wanted in interpret(graph, inputs).items():
        np.testing.assert_allclose(interpret(found, inputs)[name], wanted, rtol=1e-6, atol=1e-6)
    return found


def test_those_between_two_layers_cancel(network: Callable[..., Path], inputs_of: Callable[..., Any]) -> None:
    """Through activations, a constant of each channel, a residual, joining, cutting, padding, and the mean over all places."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((4, 4, 3, 3), np.float32),
        "k": rng.standard_normal((4, 1, 1), np.float32),
        "zeros": np.zeros((1, 2, 6, 5), np.float32),
        "v": rng.standard_normal((4, 4, 1, 1), np.float32),
        "starts": np.array([1]),
        "ends": np.array([5]),
        "axes": np.array([1]),
        "pads": np.array([0, 0, 1, 0, 0, 0, 0, 2]),
    }
    nodes = [
        ("Conv", ["x", "w"], ["a"], {"pads": [1, 1, 1, 1]}),
        ("Mul", ["a", "k"], ["b"], {}),
        ("Conv", ["b", "v"], ["c"], {}),
        ("Add", ["c", "a"], ["d"], {}),
        ("Concat", ["d", "zeros"], ["e"], {"axis": 1}),
        ("Slice", ["e", "starts", "ends", "axes"], ["f"], {}),
        ("Pad", ["f", "pads"], ["g"], {}),
        ("Softmax", ["g"], ["h"], {"axis": 1}),
        ("Conv", ["h", "v"], ["i"], {}),
        ("GlobalAveragePool", ["i"], ["j"], {}),
        ("Flatten", ["j"], ["y"], {}),
    ]
    graph = load_network(network(nodes, {"x": ("float32", [1, 4, 6, 5])}, constants))
    assert counts(graph)["Transpose"] == 6
    assert counts(unchanged(graph, inputs_of(graph)))["Transpose"] == 1  # of the input


def test_one_that_cannot_pass_stays(network: Callable[..., Path], inputs_of: Callable[..., Any]) -> None:
    nodes = [("Transpose", ["x"], ["t"], {"perm": [1, 0]}), ("Add", ["t", "z"], ["y"], {})]
    graph = load_network(network(nodes, {"x": ("float32", [2, 3]), "z": ("float32", [3, 2])}))
    assert counts(unchanged(graph, inputs_of(graph))) == {"Transpose": 1, "Map": 1}


def test_two_in_a_row_become_one(network: Callable[..., Path], inputs_of: Callable[..., Any]) -> None:
    nodes = [("Transpose", ["x"], ["t"], {"perm": [1, 2, 0]}), ("Transpose", ["t"], ["y"], {"perm": [1, 0, 2]})]
    graph = load_network(network(nodes, {"x": ("float32", [2, 3, 4])}))
    assert counts(unchanged(graph, inputs_of(graph))) == {"Transpose": 1}


def test_one_that_moves_only_axes_of_size_1_is_a_reshape() -> None:
    assert moves_nothing(Transpose((1, 0, 2)), Type("float32", (1, 2, 3)))
    assert not moves_nothing(Transpose((2, 1, 0)), Type("float32", (3, 1, 2)))
    nodes = [Node(Transpose((1, 0, 2)), ("x",), "y", "")]
    found = sink_transposes(Graph.of({"x": Type("float32", (2, 1, 3))}, ["y"], nodes, {}))
    assert found.nodes[0].op == Reshape((1, 2, 3))


def test_layers_over_one_place_take_what_follows_them(network: Callable[..., Path]) -> None:
    """Their images have the same order of elements in every layout."""
    weights = np.random.default_rng(0).standard_normal((8, 8, 1, 1), np.float32)
    nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = [
        ("GlobalAveragePool", ["x"], ["a"], {}),
        ("Conv", ["a", "w"], ["b"], {}),
        ("Relu", ["b"], ["c"], {}),
        ("Conv", ["c", "w"], ["y"], {}),
    ]
    graph = optimized(load_network(network(nodes, {"x": ("float32", [1, 8, 4, 4])}, {"w": weights})))
    assert counts(graph)["Conv"] == 2 and not counts(graph)["Map"]
