"""Makes the padding of layers a step of its own, so that a layer's inner loops know nothing of borders. Means that leave padding out of
their count, and greatest values, keep theirs: they look at each window's borders anyway."""

from __future__ import annotations

from dataclasses import replace

from harness.compiler.ir import Graph, Node
from harness.compiler.operators import Conv, Pad


def explicit_padding(graph: Graph) -> Graph:
    nodes: list[Node] = []
    for node in graph.nodes:
        if not isinstance(node.op, Conv) or not any(node.op.window.pads):
            nodes.append(node)
            continue
        top, left, bottom, right = node.op.window.pads
        value = 0.0 if node.op.requantize is None else float(node.op.requantize.x_zero_point)
        padded = f"{node.output}.padded"
        nodes.append(Node(Pad((0, top, left, 0), (0, bottom, right, 0), value), node.inputs[:1], padded, node.origin))
        op = replace(node.op, window=replace(node.op.window, pads=(0, 0, 0, 0)))
        nodes.append(replace(node, op=op, inputs=(padded, *node.inputs[1:])))
    return graph.with_nodes(nodes)
