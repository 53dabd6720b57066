"""Moves dequantizing down through operators that only move elements or choose among them, so that these work on bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from harness.compiler.expression import Apply, Constant, Input
from harness.compiler.ir import Graph, Node, Operator
from harness.compiler.operators import Concat, Gather, Map, Pad, Pool, Reshape, Slice, Transpose


class Scale(NamedTuple):
    """real = scale * (stored - zero_point), one for the whole tensor."""

    scale: float
    zero_point: int


def scale_of(op: Operator, scalar: str) -> Scale | None:
    """Of a Map that does nothing but `quantize` or `dequantize` by constants."""
    if isinstance(op, Map) and isinstance(op.expression, Apply) and op.expression.scalar == scalar:
        x, scale, zero = op.expression.arguments
        if x == Input(0) and isinstance(scale, Constant) and isinstance(zero, Constant):
            return Scale(scale.value, int(zero.value))
    return None


def sink_dequantize(graph: Graph) -> Graph:
    made: dict[str, Node] = {}
    dtypes = {name: found.dtype for name, found in graph.types.items()}
    for node in graph.nodes:
        above = [made.get(name) for name in node.inputs[: None if isinstance(node.op, Concat) else 1]]
        scales = {None if maker is None else scale_of(maker.op, "dequantize") for maker in above}
        scale = scales.pop() if len(scales) == 1 else None
        op = None if scale is None else _on_bytes(node.op, scale)
        dequantizers = [maker for maker in above if maker is not None]
        if op is None or len({dtypes[maker.inputs[0]] for maker in dequantizers}) != 1:
            made[node.output] = node
            continue
        stored = f"{node.output}.stored"
        inputs = (*(maker.inputs[0] for maker in dequantizers), *node.inputs[len(above) :])
        made[stored] = Node(op, inputs, stored, node.origin)
        (first, *_) = dequantizers
        dtypes[stored] = dtypes[first.inputs[0]]
        assert isinstance(first.op, Map)
        made[node.output] = replace(
            node, op=Map(first.op.expression, graph.types[node.output].shape), inputs=(stored,), origin=first.origin
        )
    return graph.with_nodes(made.values())


def _on_bytes(op: Operator, scale: Scale) -> Operator | None:
    """The operator over stored values; a scale above 0 keeps their order."""
    if isinstance(op, Pad):
        return replace(op, value=float(scale.zero_point)) if op.value == 0 else None
    if isinstance(op, Reshape | Transpose | Slice | Gather | Concat) or (isinstance(op, Pool) and op.kind == "max"):
        return op
    return None
