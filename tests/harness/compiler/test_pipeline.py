from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.compiler.frontend.network import load_network
from harness.compiler.ir import Graph
from harness.compiler.pipeline import PASSES, optimized

Array = npt.NDArray[Any]


def counts(graph: Graph) -> Counter[str]:
    return Counter(type(node.op).__name__ for node in graph.nodes)


def block(network: Callable[..., Path]) -> Path:
    """A residual block with batch normalization, as exporters write it."""
    rng = np.random.default_rng(0)
    constants: dict[str, Array] = {name: rng.random(4, np.float32) + np.float32(0.5) for name in "gbmv"}
    constants |= {"w": rng.standard_normal((4, 4, 3, 3), np.float32), "u": rng.standard_normal((4, 4, 1, 1), np.float32)}
    nodes = [
        ("Conv", ["x", "u"], ["s"], {}),
        ("Conv", ["s", "w"], ["a"], {"pads": [1, 1, 1, 1]}),
        ("BatchNormalization", ["a", "g", "b", "m", "v"], ["c"], {}),
        ("Relu", ["c"], ["d"], {}),
        ("Conv", ["d", "u"], ["e"], {}),
        ("BatchNormalization", ["e", "g", "b", "m", "v"], ["f"], {}),
        ("Add", ["f", "s"], ["h"], {}),
        ("Relu", ["h"], ["i"], {}),
        ("GlobalAveragePool", ["i"], ["y"], {}),
    ]
    return network(nodes, {"x": ("float32", [1, 4, 6, 6])}, constants)


def test_a_residual_block_becomes_two_layers(network: Callable[..., Path], agrees: Callable[..., Graph]) -> None:
    graph = agrees(block(network), tolerance=1e-4)
    assert counts(graph) == {"Transpose": 1, "Pad": 1, "Conv": 3, "Reduce": 1, "Reshape": 1}
    assert len(graph.nodes[-3].inputs) == 4  # the second takes the block's input as its residual


def test_every_pass_says_why_it_stands_where_it_does() -> None:
    assert all(step.why_here for step in PASSES)


def test_twice_over_changes_nothing_more(network: Callable[..., Path]) -> None:
    graph = optimized(load_network(block(network)))
    assert counts(optimized(graph)) == counts(graph)
