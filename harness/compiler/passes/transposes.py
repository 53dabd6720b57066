"""Moves transposes down through the operators that do not care for the order of axes, so that those around layers meet and cancel."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

import numpy as np

from harness.compiler.ir import Graph, Node, Operator, Type
from harness.compiler.operators import Concat, Gather, Map, Pad, Reduce, Reshape, Slice, Softmax, Transpose
from harness.compiler.passes.constants import fold_moves
from harness.compiler.passes.simplify import simplify


def sink_transposes(graph: Graph) -> Graph:
    """op(transpose(x)) -> transpose(op'(x)), from the inputs to the outputs; transposes that nobody reads any more are dropped.

    Those that are left and move no element become reshapes: not before, or a layer whose image is one place would end at one.
    """
    moved: dict[str, Node] = {}
    nodes: list[Node] = []
    static = set(graph.constants)
    for node in graph.nodes:
        if static.issuperset(node.inputs):
            static.add(node.output)
        above = [moved.get(name) for name in node.inputs]
        axes = next((t.op.axes for t in above if t is not None and isinstance(t.op, Transpose)), None)
        nodes.extend([node] if axes is None else _sunk(node, axes, above, graph, static) or [node])
        if isinstance(nodes[-1].op, Transpose):
            moved[nodes[-1].output] = nodes[-1]
    made = graph.with_nodes(nodes)
    return simplify(fold_moves(made.with_nodes(_plain(node, made) for node in made.nodes)))


def moves_nothing(op: Transpose, result: Type) -> bool:
    """Whether the axes that are longer than 1 keep their order."""
    long = [axis for axis, size in zip(op.axes, result.shape, strict=True) if size > 1]
    return long == sorted(long)


def _plain(node: Node, graph: Graph) -> Node:
    """A reshape instead of a transpose that moves nothing."""
    result = graph.types[node.output]
    is_reshape = isinstance(node.op, Transpose) and moves_nothing(node.op, result)
    return replace(node, op=Reshape(result.shape)) if is_reshape else node


def _sunk(node: Node, axes: Sequence[int], above: Sequence[Node | None], graph: Graph, static: Set[str]) -> list[Node] | None:
    """The node before a transpose by `axes` instead of after it, and the transpose; None where that cannot be."""
    first = next(t for t in above if t is not None)
    if isinstance(node.op, Transpose):
        return [replace(node, op=Transpose(tuple(axes[axis] for axis in node.op.axes)), inputs=first.inputs)]
    if isinstance(node.op, Reshape):
        is_plain = moves_nothing(Transpose(tuple(axes)), graph.types[first.output])
        return [replace(node, inputs=first.inputs)] if is_plain else None
    op = _reordered(node.op, axes)
    if op is None:
        return None
    between = f"{node.output}.before"
    sunk, inputs = [], []
    for index, (name, transpose) in enumerate(zip(node.inputs, above, strict=True)):
        if transpose is not None and transpose.op == Transpose(tuple(axes)):
            inputs.append(transpose.inputs[0])
        elif isinstance(node.op, Gather):  # its indices
            inputs.append(name)
        elif name in static:
            shape, padded, back = graph.types[name].shape, f"{between}{index}.padded", f"{between}{index}"
            sunk.append(Node(Reshape((1,) * (len(axes) - len(shape)) + shape), (name,), padded, node.origin))
            sunk.append(Node(Transpose(tuple(int(a) for a in np.argsort(axes))), (padded,), back, node.origin))
            inputs.append(back)
        else:
            return None
    transpose = Node(Transpose(tuple(axes)), (between,), node.output, node.origin)
    return [*sunk, Node(op, tuple(inputs), between, node.origin), transpose]


def _reordered(op: Operator, axes: Sequence[int]) -> Operator | None:
    """The operator over x that gives, transposed by `axes`, what `op` gives over x transposed."""

    def back(values: Sequence[int]) -> tuple[int, ...]:
        return tuple(values[axis] for axis in np.argsort(axes))

    match op:
        case Map(expression, shape) if len(shape) == len(axes):
            return Map(expression, back(shape))
        case Softmax(axis, log):
            return Softmax(axes[axis], log)
        case Concat(axis):
            return Concat(axes[axis])
        case Slice(starts, sizes, steps):
            return Slice(back(starts), back(sizes), back(steps))
        case Pad(before, after, value):
            return Pad(back(before), back(after), value)
        case Reduce(kind, reduced):
            places = sorted(axes[axis] for axis in reduced)
            return Reduce(kind, tuple(places)) if places == list(range(places[0], places[-1] + 1)) else None
        case Gather(axis):
            return Gather(axes[axis])
    return None
