"""Drops what does nothing: nodes that nobody reads, copies, reshapes of reshapes, and quantize over dequantize of the same scale and zero
point."""

from __future__ import annotations

from dataclasses import replace

from harness.compiler.expression import Apply, Input
from harness.compiler.ir import Graph, Node, renamed
from harness.compiler.operators import Map, Reshape


def simplify(graph: Graph) -> Graph:
    made: dict[str, Node] = {}
    same: dict[str, str] = {}
    for original in graph.nodes:
        node = _shorter(renamed(original, same), made)
        if _is_copy(node, graph) and node.output not in graph.outputs:
            same[node.output] = node.inputs[0]
        else:
            made[node.output] = node
    return graph.with_nodes(_read(tuple(made.values()), graph.outputs))


def _shorter(node: Node, made: dict[str, Node]) -> Node:
    """The node reading further up, where what lies between only rearranges or cancels."""
    before = made.get(node.inputs[0]) if node.inputs else None
    if before is None:
        return node
    if isinstance(node.op, Reshape) and isinstance(before.op, Reshape):
        return replace(node, inputs=before.inputs)
    if isinstance(node.op, Map) and isinstance(before.op, Map) and _cancel(before.op, node.op):
        return replace(node, op=Map(Input(0), node.op.shape), inputs=before.inputs)
    return node


def _cancel(first: Map, second: Map) -> bool:
    """Dequantize and quantize again by the same constants: q -> q exactly, for 8-bit q."""
    down, up = first.expression, second.expression
    return (
        isinstance(down, Apply)
        and isinstance(up, Apply)
        and (down.scalar, up.scalar) == ("dequantize", "quantize")
        and down.arguments == (Input(0), *up.arguments[1:])
        and up.arguments[0] == Input(0)
        and first.shape == second.shape
    )


def _is_copy(node: Node, graph: Graph) -> bool:
    is_same = isinstance(node.op, Reshape) or (isinstance(node.op, Map) and node.op.expression == Input(0))
    return is_same and graph.types[node.inputs[0]] == graph.types[node.output]


def _read(nodes: tuple[Node, ...], outputs: tuple[str, ...]) -> list[Node]:
    """The nodes that the outputs need."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if node.output in needed:
            needed.update(node.inputs)
            kept.append(node)
    return kept[::-1]
