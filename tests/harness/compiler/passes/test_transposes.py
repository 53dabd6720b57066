from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.compiler.frontend.network import load_network
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph
from harness.compiler.passes.transposes import sink_transposes


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
