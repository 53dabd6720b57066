"""The meaning of the graph, in NumPy: slow, obvious, the oracle that passes and generated code are held to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch

import numpy as np

from harness.compiler.expression import evaluate, saturated
from harness.compiler.ir import Array, Graph, Node, Operator, Type
from harness.compiler.operators import (
    Clamp,
    Concat,
    Conv,
    Dense,
    Gather,
    Map,
    MatMul,
    Normalize,
    Pad,
    Pool,
    Reduce,
    Requantize,
    Reshape,
    Slice,
    Softmax,
    Transpose,
    Window,
)
from harness.compiler.regions import FromRegions, RegionConv, ToRegions


def interpret(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The graph's outputs by name."""
    values = dict(graph.constants)
    for name, wanted in graph.inputs.items():
        if inputs[name].dtype.name != wanted.dtype or inputs[name].shape != wanted.shape:
            raise ValueError(f"input `{name}` is {wanted}, {inputs[name].dtype}{list(inputs[name].shape)} was given")
        values[name] = inputs[name]
    for node in graph.nodes:
        values[node.output] = computed(node, [values[name] for name in node.inputs])
    return {name: values[name] for name in graph.outputs}


def computed(node: Node, arrays: Sequence[Array]) -> Array:
    """What one node makes of its inputs."""
    return np.ascontiguousarray(_compute(node.op, *arrays)).reshape(node.op.infer([_type(a) for a in arrays]).shape)


def _type(array: Array) -> Type:
    return Type(array.dtype.name, array.shape)


@singledispatch
def _compute(op: Operator, *arrays: Array) -> Array:
    raise NotImplementedError(f"no meaning of {op} over {len(arrays)} arrays")


@_compute.register
def _conv(op: Conv, x: Array, weights: Array, bias: Array, *rest: Array) -> Array:
    wide = np.float64 if op.requantize is None else np.int64
    zero = 0 if op.requantize is None else op.requantize.x_zero_point
    seen = windows(x.astype(wide) - zero, op.window, 0)  # [n, h', w', kh, kw, c]
    grouped = seen.reshape(*seen.shape[:5], op.groups, -1)
    filters = weights.astype(wide).reshape(*weights.shape[:3], op.groups, -1)
    sums = np.einsum("nyxhwgc,hwcgo->nyxgo", grouped, filters, optimize=True).reshape(*seen.shape[:3], -1)
    return _finished(sums + bias, op.clamp, op.requantize, rest)


@_compute.register
def _dense(op: Dense, x: Array, weights: Array, bias: Array, *rest: Array) -> Array:
    wide = np.float64 if op.requantize is None else np.int64
    zero = 0 if op.requantize is None else op.requantize.x_zero_point
    return _finished((x.astype(wide) - zero) @ weights.astype(wide) + bias, op.clamp, op.requantize, rest)


def _finished(sums: Array, clamp: Clamp, requantize: Requantize | None, rest: Sequence[Array]) -> Array:
    """The end of Conv and Dense: a residual and clamping, or back to bytes."""
    if requantize is None:
        return np.clip(sums + sum(rest), clamp.low, clamp.high).astype(np.float32)
    scaled = sums.astype(np.float32) * rest[0]
    if requantize.is_real:
        return np.clip(scaled, requantize.low, requantize.high).astype(np.float32)
    levels = np.rint(scaled) + requantize.zero_point
    return saturated(np.clip(levels, requantize.low, requantize.high), requantize.dtype)


def windows(x: Array, window: Window, padding: float) -> Array:
    """[n, h, w, c] -> what each window sees, [n, h', w', kh, kw, c]."""
    top, left, bottom, right = window.pads
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=padding)
    rows, columns = window.places(x.shape[1], x.shape[2])
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.strides, window.dilations
    y = sh * np.arange(rows)[:, None] + dh * np.arange(kh)
    z = sw * np.arange(columns)[:, None] + dw * np.arange(kw)
    return np.asarray(padded[:, y[:, None, :, None], z[None, :, None, :], :])


@_compute.register
def _matmul(op: MatMul, a: Array, b: Array) -> Array:  # noqa: ARG001
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32)


@_compute.register
def _pool(op: Pool, x: Array) -> Array:
    if op.kind == "max":
        lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        return np.asarray(windows(x, op.window, lowest).max((3, 4)))
    sums = windows(x.astype(np.float64), op.window, 0).sum((3, 4))
    seen = windows(np.ones((1, *x.shape[1:3], 1)), op.window, 1 if op.counts_padding else 0).sum((3, 4))
    return np.asarray(sums / seen, np.float32)


@_compute.register
def _map(op: Map, *arrays: Array) -> Array:
    return np.broadcast_to(evaluate(op.expression, arrays), op.shape)


@_compute.register
def _reduce(op: Reduce, x: Array) -> Array:
    wide = x.astype(np.float64) if x.dtype.kind == "f" else x
    return np.asarray(getattr(np, op.kind)(wide, axis=op.axes, keepdims=True)).astype(x.dtype)


@_compute.register
def _softmax(op: Softmax, x: Array) -> Array:
    shifted = x.astype(np.float64) - x.max(op.axis, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(op.axis, keepdims=True))
    return np.asarray(logs if op.log else np.exp(logs), np.float32)


@_compute.register
def _normalize(op: Normalize, x: Array, gain: Array, bias: Array) -> Array:
    wide = x.astype(np.float64)
    centred = wide - wide.mean(-1, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + op.epsilon)
    return np.asarray(centred * scale * gain + bias, np.float32)


@_compute.register
def _transpose(op: Transpose, x: Array) -> Array:
    return x.transpose(op.axes)


@_compute.register
def _reshape(op: Reshape, x: Array) -> Array:
    return x.reshape(op.shape)


@_compute.register
def _concat(op: Concat, *arrays: Array) -> Array:
    return np.concatenate(arrays, op.axis)


@_compute.register
def _slice(op: Slice, x: Array) -> Array:
    parts = zip(op.starts, op.sizes, op.steps, strict=True)
    return x[tuple(slice(start, start + size * step, step) for start, size, step in parts)]


@_compute.register
def _pad(op: Pad, x: Array) -> Array:
    return np.asarray(np.pad(x, list(zip(op.before, op.after, strict=True)), constant_values=np.asarray(op.value, x.dtype)))


@_compute.register
def _gather(op: Gather, x: Array, indices: Array) -> Array:
    return np.take(x, indices, op.axis)


@_compute.register
def _to_regions(op: ToRegions, x: Array) -> Array:
    places = op.regions.places()
    taken = x.reshape(x.shape[0], -1, x.shape[3])[:, places]  # [n, rows, columns, lanes, c]
    return np.asarray(np.where(places[..., None] < 0, np.float32(0), taken).transpose(0, 4, 1, 2, 3))


@_compute.register
def _from_regions(op: FromRegions, x: Array) -> Array:
    return np.asarray(x.reshape(*x.shape[:2], -1)[:, :, op.regions.elements_of_places()].transpose(0, 2, 1))


@_compute.register
def _region_conv(op: RegionConv, x: Array, weights: Array, bias: Array, *residual: Array) -> Array:
    images = [_from_regions(FromRegions(cut), a) for cut, a in ((op.given, x), *((op.made, r) for r in residual))]
    (image, *rest) = (a.reshape(len(a), cut.height, cut.width, -1) for a, cut in zip(images, (op.given, op.made), strict=False))
    return _to_regions(ToRegions(op.made), _conv(op.conv, image, weights, bias, *rest))
