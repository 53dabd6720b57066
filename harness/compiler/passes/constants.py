"""Computes once, here, what no input changes."""

from __future__ import annotations

from harness.compiler.interpret import computed
from harness.compiler.ir import Graph, Node
from harness.compiler.operators import dequantizes


def fold_constants(graph: Graph) -> Graph:
    """All of it: dequantized weights that no integer layer took, too."""
    return _folded(graph, keeps_dequantized=False)


def fold_moves(graph: Graph) -> Graph:
    """All but dequantized weights, from which integer layers are recognised."""
    return _folded(graph, keeps_dequantized=True)


def _folded(graph: Graph, *, keeps_dequantized: bool) -> Graph:
    constants = dict(graph.constants)
    nodes: list[Node] = []
    for node in graph.nodes:
        is_kept = node.output in graph.outputs or (keeps_dequantized and dequantizes(node.op))
        if not is_kept and all(name in constants for name in node.inputs):
            constants[node.output] = computed(node, [constants[name] for name in node.inputs])
        else:
            nodes.append(node)
    return graph.with_nodes(nodes, constants)
