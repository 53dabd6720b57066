"""Recognises integer layers: dequantized bytes times dequantized weights is a sum of products of integers and one multiplier, quantized again
(Jacob et al. 2018, eq. 5) or left real. The multiplier is float32, and rounding is to the nearest, ties to even, as in ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from harness.compiler.expression import Apply, Constant, Expression, Input, apply, evaluate, saturated
from harness.compiler.interpret import computed
from harness.compiler.ir import Array, Graph, Node, only_reader
from harness.compiler.operators import NO_CLAMP, Clamp, Conv, Dense, Map, Requantize, Reshape, Transpose
from harness.compiler.passes.dequantize import Scale, scale_of


class Stored(NamedTuple):
    """Constant integers, and what each output's stand for; zero points are 0."""

    values: Array
    scale: Array
    """float32 [outputs]"""


def recognise_integers(graph: Graph) -> Graph:
    readers, makers = graph.readers(), graph.makers()
    constants = dict(graph.constants)
    made: dict[str, Sequence[Node]] = {node.output: [node] for node in graph.nodes}
    for layer in graph.nodes:
        if not isinstance(layer.op, Conv | Dense) or layer.op.requantize is not None:
            continue
        source = makers.get(layer.inputs[0])
        of = None if source is None else scale_of(source.op, "dequantize")
        weights = _stored(graph, layer.inputs[1])
        if source is None or of is None or weights is None or weights.values.dtype != np.int8:
            continue
        bias = _bias(graph, layer.inputs[2], of, weights)
        if bias is None or graph.types[source.inputs[0]].dtype not in ("int8", "uint8"):
            continue
        residual = layer.inputs[3:]
        reader = None if residual else only_reader(graph, readers, layer.output)
        to = None if reader is None else scale_of(reader.op, "quantize")
        end = layer if reader is None or to is None else reader
        names = [f"{end.output}.{part}" for part in ("weights", "bias", "multiplier")]
        multiplier = np.float32(of.scale) * weights.scale / np.float32(1 if to is None else to.scale)
        constants.update(zip(names, (weights.values, bias, multiplier), strict=True))
        clamp = NO_CLAMP if residual else layer.op.clamp
        requantize = _requantize(clamp, of, to, graph.types[end.output].dtype)
        sums = Node(
            replace(layer.op, requantize=requantize, clamp=NO_CLAMP), (source.inputs[0], *names), end.output, layer.origin
        )
        made[end.output] = _added(sums, residual[0], layer.op.clamp, graph.types[end.output].shape) if residual else [sums]
    return graph.with_nodes((node for output in made.values() for node in output), constants)


def _added(sums: Node, residual: str, clamp: Clamp, shape: tuple[int, ...]) -> Sequence[Node]:
    """What a layer of integers leaves to the node after it."""
    total: Expression = apply("add", Input(0), Input(1))
    for scalar, limit in (("max", clamp.low), ("min", clamp.high)):
        total = total if math.isinf(limit) else apply(scalar, total, Constant(limit, "float32"))
    alone = replace(sums, output=f"{sums.output}.alone")
    return alone, Node(Map(total, shape), (alone.output, residual), sums.output, sums.origin)


def _requantize(clamp: Clamp, of: Scale, to: Scale | None, dtype: str) -> Requantize:
    """Clamping real values is clamping stored ones: quantizing keeps their order."""
    if to is None:
        return Requantize(of.zero_point, 0, "float32", *clamp)
    limits = np.iinfo(dtype)

    def level(real: float, otherwise: int) -> int:
        if math.isinf(real):
            return otherwise
        return int(saturated(np.rint(np.float32(real) / np.float32(to.scale)) + to.zero_point, dtype))

    return Requantize(of.zero_point, to.zero_point, dtype, level(clamp.low, limits.min), level(clamp.high, limits.max))


def _stored(graph: Graph, name: str) -> Stored | None:
    """Constants that are dequantized, and perhaps moved about on the way to where they are read; one scale for each output, the last axis."""
    makers = graph.makers()
    moves: list[Node] = []
    while (node := makers.get(name)) is not None and isinstance(node.op, Reshape | Transpose):
        moves.append(node)
        name = node.inputs[0]
    if node is None or not isinstance(node.op, Map) or not isinstance(node.op.expression, Apply):
        return None
    expression = node.op.expression
    arrays = [graph.constants.get(i) for i in node.inputs]
    known = [array for array in arrays if array is not None]
    if expression.scalar != "dequantize" or expression.arguments[0] != Input(0) or len(known) != len(arrays):
        return None
    scale, zero = (evaluate(argument, known) for argument in expression.arguments[1:])
    if np.any(zero != 0):
        return None
    values, scales = known[0], np.broadcast_to(scale, node.op.shape)
    for move in reversed(moves):
        values, scales = computed(move, [values]), computed(move, [scales])
    by_output = scales.reshape(-1, scales.shape[-1])
    return Stored(values, by_output[0].astype(np.float32)) if np.all(by_output == by_output[0]) else None


def _bias(graph: Graph, name: str, of: Scale, weights: Stored) -> Array | None:
    """int32 [outputs], in units of the input's scale times the weights'."""
    unit = np.float32(of.scale) * weights.scale
    stored = _stored(graph, name)
    if stored is not None and stored.values.dtype == np.int32 and np.allclose(stored.scale, unit, rtol=1e-5, atol=0):
        return stored.values
    array = graph.constants.get(name)
    if array is None:
        return None
    levels = np.rint(array.astype(np.float64) / unit)
    return levels.astype(np.int32) if np.all(np.abs(levels) < 2**31) else None
