from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.compiler.frontend.network import load_network
from harness.compiler.ir import Graph
from harness.compiler.operators import Map
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


def test_a_sum_of_bytes_reads_bytes_also_where_layers_read_them_too(
    network: Callable[..., Path], agrees: Callable[..., Graph]
) -> None:
    """What the layers read before they were known to be integer ones must not count as a reader of what the sum dequantizes."""
    rng = np.random.default_rng(0)
    constants: dict[str, Array] = {
        "s": np.array(0.05, np.float32),
        "z": np.array(0, np.uint8),
        "t": np.full(4, 0.01, np.float32),
        "n": np.zeros(4, np.int8),
    }
    constants |= {"b": np.zeros(4, np.float32), "w": rng.integers(-99, 99, (4, 4, 3, 3)).astype(np.int8)}
    nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = [("DequantizeLinear", ["w", "t", "n"], ["r"], {"axis": 0})]

    def rounded(name: str) -> str:
        nodes.append(("QuantizeLinear", [name, "s", "z"], [f"{name}q"], {}))
        nodes.append(("DequantizeLinear", [f"{name}q", "s", "z"], [f"{name}d"], {}))
        return f"{name}d"

    for x, y in (("x", "a"), ("a", "c")):
        nodes.append(("Conv", [rounded(x), "r", "b"], [y], {"pads": [1, 1, 1, 1]}))
    nodes.append(("Add", ["ad", rounded("c")], ["e"], {}))
    nodes.append(("Identity", [rounded("e")], ["y"], {}))
    graph = agrees(network(nodes, {"x": ("float32", [1, 4, 6, 6])}, constants), tolerance=0.02)
    (total,) = [node for node in graph.nodes if isinstance(node.op, Map) and len(node.inputs) == 2]
    assert [graph.types[name].dtype for name in total.inputs] == ["uint8", "uint8"]
