"""Lets convolutions and dense layers do what follows them: scales and shifts of channels (batch normalization), a residual, clamping."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.compiler.expression import Apply, Constant, Input
from harness.compiler.ir import Array, Graph, Node, only_reader
from harness.compiler.operators import NO_CLAMP, Clamp, Conv, Dense, Map


def fuse_epilogues(graph: Graph) -> Graph:
    readers = graph.readers()
    made: dict[str, Node] = {}
    constants = dict(graph.constants)
    for node in graph.nodes:
        made[node.output] = node
        if not isinstance(node.op, Map) or not isinstance(node.op.expression, Apply):
            continue
        # Of two layers that are added, the later takes the other's results as its residual.
        for name in sorted(set(node.inputs), key=list(made).index if set(node.inputs) <= set(made) else None, reverse=True):
            layer = made.get(name)
            if layer is None or not isinstance(layer.op, Conv | Dense) or only_reader(graph, readers, name) is None:
                continue
            if layer.op.requantize is None and (fused := _fused(layer, layer.op, node, graph, constants)) is not None:
                del made[name]
                made[node.output] = fused
                break
    return graph.with_nodes(made.values(), constants)


def _fused(layer: Node, op: Conv | Dense, node: Node, graph: Graph, constants: dict[str, Array]) -> Node | None:
    """The layer doing the Map's work too, or None."""
    assert isinstance(node.op, Map) and isinstance(node.op.expression, Apply)
    results, scalar, arguments = graph.types[layer.output], node.op.expression.scalar, node.op.expression.arguments
    if node.op.shape != results.shape or graph.types[node.output].dtype != "float32":
        return None
    own = Input(node.inputs.index(layer.output))
    if len(arguments) != 2 or own not in arguments:
        return None
    (other,) = [a for a in arguments if a != own] or [own]
    if scalar in ("max", "min") and isinstance(other, Constant):
        low, high = op.clamp
        # max(min(x, high), low) is clamping only while low <= high, whichever came first.
        clamp = (
            Clamp(max(low, other.value), max(high, other.value))
            if scalar == "max"
            else Clamp(min(low, other.value), min(high, other.value))
        )
        return replace(layer, op=replace(op, clamp=clamp), output=node.output)
    if op.clamp != NO_CLAMP or len(layer.inputs) > 3:
        return None
    value = _per_output(other, node, results.shape, constants)
    if scalar in ("mul", "add") and value is not None:
        return _scaled(layer, node, constants, *((value, None) if scalar == "mul" else (None, value)))
    if scalar == "add" and isinstance(other, Input) and other != own and graph.types[node.inputs[other.index]] == results:
        return replace(layer, inputs=(*layer.inputs, node.inputs[other.index]), output=node.output)
    return None


def _per_output(other: object, node: Node, shape: tuple[int, ...], constants: dict[str, Array]) -> Array | None:
    """A constant that has one value for each output channel, or the same for all."""
    if isinstance(other, Constant):
        return np.full(shape[-1], other.value, np.float32)
    array = constants.get(node.inputs[other.index]) if isinstance(other, Input) else None
    if array is None or array.size != array.shape[-1] or array.shape[-1] != shape[-1]:
        return None
    return array.reshape(-1)


def _scaled(layer: Node, node: Node, constants: dict[str, Array], scale: Array | None, shift: Array | None) -> Node | None:
    """With weights and biases times a scale, or biases plus a shift, if they are constants."""
    x, weights, bias = layer.inputs
    if bias not in constants or (scale is not None and weights not in constants):
        return None
    if scale is not None:
        constants[f"{node.output}.weights"] = np.asarray(constants[weights] * scale, np.float32)
        weights = f"{node.output}.weights"
    constants[f"{node.output}.bias"] = np.asarray(
        constants[bias] * scale if shift is None else constants[bias] + shift, np.float32
    )
    return replace(layer, inputs=(x, weights, f"{node.output}.bias"), output=node.output)
