"""Joins maps: what is computed element by element from the results of another map alone is computed in one go with it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.compiler.expression import Expression, Input, substituted
from harness.compiler.ir import Graph, Node, only_reader
from harness.compiler.operators import Map

MOST_INPUTS = 8
"""Of a joined map: each is a pointer in its loop."""


def fuse_maps(graph: Graph) -> Graph:
    readers = graph.readers()
    made: dict[str, Node] = {}
    for original in graph.nodes:
        node = original
        while (name := _producer(graph, node, made, readers)) is not None:
            node = _joined(node, made.pop(name))
        made[node.output] = node
    return graph.with_nodes(made.values())


def _producer(graph: Graph, node: Node, made: dict[str, Node], readers: Mapping[str, tuple[Node, ...]]) -> str | None:
    """An input that is made by a map for this node alone, of as many elements: one that is broadcast would be computed again and again."""
    if not isinstance(node.op, Map):
        return None
    for name in node.inputs:
        maker = made.get(name)
        if maker is None or not isinstance(maker.op, Map) or only_reader(graph, readers, name) is None:
            continue
        inputs = {*node.inputs, *maker.inputs} - {name}
        if math.prod(maker.op.shape) == math.prod(node.op.shape) and len(inputs) <= MOST_INPUTS:
            return name
    return None


def _joined(node: Node, maker: Node) -> Node:
    assert isinstance(node.op, Map) and isinstance(maker.op, Map)
    inputs = list(dict.fromkeys((*(i for i in node.inputs if i != maker.output), *maker.inputs)))

    def places(of: Node) -> list[Expression]:
        return [Input(inputs.index(i)) if i in inputs else Input(0) for i in of.inputs]

    inner = substituted(maker.op.expression, places(maker))
    outer = [inner if i == maker.output else place for i, place in zip(node.inputs, places(node), strict=True)]
    return Node(Map(substituted(node.op.expression, outer), node.op.shape), tuple(inputs), node.output, node.origin)
