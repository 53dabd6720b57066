"""ONNX operators that only move elements, and those that are known once shapes are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.compiler.expression import apply
from harness.compiler.frontend.builder import Builder, OnnxNode, axis_of, converts
from harness.compiler.frontend.elementwise import X, Y, Z
from harness.compiler.ir import Array
from harness.compiler.operators import Concat, Gather, Map, Pad, Slice


def integers(builder: Builder, node: OnnxNode, inputs: Sequence[str], index: int, attribute: str) -> list[int] | None:
    """Constant integers that old opsets give as an attribute and new ones as an input."""
    if node.has(index):
        return [int(value) for value in builder.value(node, inputs[index]).ravel()]
    return node.attributes.get(attribute)


@converts("Constant")
def _constant(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:  # noqa: ARG001
    (key, value), *_ = node.attributes.items()
    if key not in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        raise node.unsupported(f"a constant given as {key}")
    dtypes = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}
    return builder.constant(value, dtypes.get(key))


@converts("Shape", "Size")
def _shape(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    shape = builder.shape(inputs[0])
    if node.kind == "Size":
        return builder.constant(math.prod(shape), "int64")
    return builder.constant(shape[node.attributes.get("start", 0) : node.attributes.get("end", len(shape))], "int64")


@converts("ConstantOfShape")
def _constant_of_shape(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32))).ravel()[0]
    return builder.constant(np.full(builder.value(node, inputs[0]).tolist(), value))


@converts("Range")
def _range(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    start, limit, step = (builder.value(node, name) for name in inputs)
    return builder.constant(np.arange(start.item(), limit.item(), step.item(), dtype=start.dtype))


@converts("Trilu")
def _trilu(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    diagonal = int(builder.value(node, inputs[1]).item()) if node.has(1) else 0
    value = builder.value(node, inputs[0])
    return builder.constant(np.triu(value, diagonal) if node.attributes.get("upper", 1) else np.tril(value, diagonal))


@converts("Reshape")
def _reshape(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    old, new = builder.shape(inputs[0]), integers(builder, node, inputs, 1, "shape") or []
    if not node.attributes.get("allowzero"):
        new = [old[axis] if size == 0 and axis < len(old) else size for axis, size in enumerate(new)]
    if -1 in new:
        known = math.prod(size for size in new if size != -1)
        new[new.index(-1)] = math.prod(old) // known if known else 0
    return builder.reshape(inputs[0], new)


@converts("Flatten")
def _flatten(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    shape, axis = builder.shape(inputs[0]), node.attributes.get("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return builder.reshape(inputs[0], (math.prod(shape[:axis]), math.prod(shape[axis:])))


@converts("Squeeze")
def _squeeze(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    shape, given = builder.shape(inputs[0]), integers(builder, node, inputs, 1, "axes")
    axes = [a for a, size in enumerate(shape) if size == 1] if given is None else [axis_of(node, a, len(shape)) for a in given]
    return builder.reshape(inputs[0], [size for axis, size in enumerate(shape) if axis not in axes])


@converts("Unsqueeze")
def _unsqueeze(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    shape, given = list(builder.shape(inputs[0])), integers(builder, node, inputs, 1, "axes") or []
    for axis in sorted(axis_of(node, a, len(shape) + len(given)) for a in given):
        shape.insert(axis, 1)
    return builder.reshape(inputs[0], shape)


@converts("Transpose")
def _transpose(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    rank = len(builder.shape(inputs[0]))
    return builder.transpose(inputs[0], node.attributes.get("perm") or list(range(rank))[::-1])


@converts("Expand")
def _expand(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    old, wanted = builder.shape(inputs[0]), builder.value(node, inputs[1]).tolist()
    shape = np.broadcast_shapes(old, tuple(wanted))
    return inputs[0] if shape == old else builder.add(Map(X, shape), inputs[0])


@converts("Tile")
def _tile(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    found = inputs[0]
    for axis, count in enumerate(builder.value(node, inputs[1]).tolist()):
        if count != 1:
            found = builder.add(Concat(axis), *[found] * count) if count else _nothing(node)
    return found


def _nothing(node: OnnxNode) -> str:
    raise node.unsupported("a result without elements")


@converts("Concat")
def _concat(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    axis = axis_of(node, node.attributes["axis"], len(builder.shape(inputs[0])))
    parts = [name for name in inputs if builder.types[name].elements]
    return builder.add(Concat(axis), *parts) if len(parts) > 1 else (parts or list(inputs))[0]


@converts("Split")
def _split(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> list[str]:
    shape, count = builder.shape(inputs[0]), len(node.outputs)
    axis = axis_of(node, node.attributes.get("axis", 0), len(shape))
    part = -(-shape[axis] // count)
    sizes = integers(builder, node, inputs, 1, "split") or [min(part, shape[axis] - part * i) for i in range(count)]
    starts = np.cumsum([0, *sizes[:-1]])
    return [sliced(builder, inputs[0], axis, int(start), size) for start, size in zip(starts, sizes, strict=True)]


def sliced(builder: Builder, name: str, axis: int, start: int, size: int, step: int = 1) -> str:
    """Along one axis."""
    shape = builder.shape(name)
    if (start, size, step) == (0, shape[axis], 1):
        return name
    starts, sizes, steps = [0] * len(shape), list(shape), [1] * len(shape)
    starts[axis], sizes[axis], steps[axis] = start, size, step
    return builder.add(Slice(tuple(starts), tuple(sizes), tuple(steps)), name)


@converts("Slice")
def _slice(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    found, shape = inputs[0], builder.shape(inputs[0])
    starts, ends = (integers(builder, node, inputs, i, key) or [] for i, key in ((1, "starts"), (2, "ends")))
    axes = integers(builder, node, inputs, 3, "axes") or list(range(len(starts)))
    steps = integers(builder, node, inputs, 4, "steps") or [1] * len(starts)
    for start, end, given, step in zip(starts, ends, axes, steps, strict=True):
        axis = axis_of(node, given, len(shape))
        places = range(*slice(start, end, step).indices(shape[axis]))
        if not places:
            raise node.unsupported("a result without elements")
        is_plain = step > 0
        found = (
            sliced(builder, found, axis, places[0], len(places), step)
            if is_plain
            else taken(builder, found, axis, np.asarray(places))
        )
    return found


def taken(builder: Builder, name: str, axis: int, places: Array) -> str:
    """Elements at constant places along one axis."""
    return builder.add(Gather(axis), name, builder.constant(places, "int64"))


@converts("Gather")
def _gather(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    shape = builder.shape(inputs[0])
    axis = axis_of(node, node.attributes.get("axis", 0), len(shape))
    indices = builder.constants.get(inputs[1])
    if indices is None or inputs[0] in builder.constants:
        return builder.add(Gather(axis), *inputs)
    if indices.size and not -shape[axis] <= indices.min() <= indices.max() < shape[axis]:
        raise node.unsupported(f"indices beyond {shape[axis]}")
    if indices.size == 1:
        one = sliced(builder, inputs[0], axis, int(indices.item()) % shape[axis], 1)
        return builder.reshape(one, (*shape[:axis], *indices.shape, *shape[axis + 1 :]))
    return taken(builder, inputs[0], axis, indices % shape[axis])


@converts("Pad")
def _pad(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    shape, mode = builder.shape(inputs[0]), node.attributes.get("mode", "constant")
    pads, rank = integers(builder, node, inputs, 1, "pads") or [], len(shape)
    axes = [axis_of(node, a, rank) for a in integers(builder, node, inputs, 3, "axes") or range(rank)]
    before, after = [0] * rank, [0] * rank
    for place, axis in enumerate(axes):
        before[axis], after[axis] = pads[place], pads[place + len(axes)]
    if min((*before, *after), default=0) < 0:
        raise node.unsupported("negative pads")
    if mode == "constant":
        value = builder.value(node, inputs[2]).item() if node.has(2) else node.attributes.get("value", 0.0)
        return builder.add(Pad(tuple(before), tuple(after), float(value)), inputs[0])
    if mode not in ("reflect", "edge"):
        raise node.unsupported(f"mode {mode}")
    found = inputs[0]
    for axis, size in enumerate(shape):
        if before[axis] or after[axis]:
            places = np.pad(np.arange(size), (before[axis], after[axis]), mode=mode)
            found = taken(builder, found, axis, places)
    return found


@converts("DepthToSpace", "SpaceToDepth")
def _depth(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    (n, c, h, w), b = builder.shape(inputs[0]), node.attributes["blocksize"]
    if node.kind == "SpaceToDepth":
        blocks = builder.reshape(inputs[0], (n, c, h // b, b, w // b, b))
        return builder.reshape(builder.transpose(blocks, (0, 3, 5, 1, 2, 4)), (n, c * b * b, h // b, w // b))
    if node.attributes.get("mode", "DCR") == "DCR":
        blocks, axes = builder.reshape(inputs[0], (n, b, b, c // (b * b), h, w)), (0, 3, 4, 1, 5, 2)
    else:
        blocks, axes = builder.reshape(inputs[0], (n, c // (b * b), b, b, h, w)), (0, 1, 4, 2, 5, 3)
    return builder.reshape(builder.transpose(blocks, axes), (n, c // (b * b), h * b, w * b))


@converts("Resize", "Upsample")
def _resize(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    """Nearest or linear, one axis after the other: each place of the result takes one or two places of the input."""
    attributes, shape = node.attributes, builder.shape(inputs[0])
    mode = attributes.get("mode", "nearest")
    how = "asymmetric" if node.kind == "Upsample" else attributes.get("coordinate_transformation_mode", "half_pixel")
    known = {"asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"}
    if mode not in ("nearest", "linear") or how not in known or attributes.get("antialias") or attributes.get("axes"):
        raise node.unsupported(f"mode {mode} with coordinates {how}, antialias or axes")
    if attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise node.unsupported("an aspect ratio to keep")
    scales, sizes = _scales(builder, node, inputs, shape)
    found = inputs[0]
    for axis, (old, new, scale) in enumerate(zip(shape, sizes, scales, strict=True)):
        if (old, scale) != (new, 1.0):
            found = _resized(builder, node, found, axis, _coordinates(how, old, new, scale), mode)
    return found


def _scales(builder: Builder, node: OnnxNode, inputs: Sequence[str], shape: Sequence[int]) -> tuple[list[float], list[int]]:
    place = 1 if node.kind == "Upsample" else 2
    if node.has(place) and builder.types[inputs[place]].elements:
        scales = [float(value) for value in builder.value(node, inputs[place]).ravel()]
        return scales, [math.floor(size * scale) for size, scale in zip(shape, scales, strict=True)]
    if not node.has(3):
        raise node.unsupported("neither scales nor sizes")
    sizes = [int(value) for value in builder.value(node, inputs[3]).ravel()]
    return [new / old for new, old in zip(sizes, shape, strict=True)], sizes


def _coordinates(how: str, old: int, new: int, scale: float) -> Array:
    """Where each place of the result lies in the input (ONNX Resize, coordinate_transformation_mode)."""
    places = np.arange(new, dtype=np.float64)
    if how == "asymmetric":
        return places / scale
    if how == "align_corners":
        return places * ((old - 1) / (new - 1)) if new > 1 else places * 0
    if how == "pytorch_half_pixel" and new <= 1:
        return places * 0
    return (places + 0.5) / scale - 0.5


def _resized(builder: Builder, node: OnnxNode, name: str, axis: int, where: Array, mode: str) -> str:
    most = builder.shape(name)[axis] - 1
    if mode == "nearest":
        roundings: dict[str, Any] = {
            "round_prefer_floor": lambda x: np.ceil(x - 0.5),
            "round_prefer_ceil": lambda x: np.floor(x + 0.5),
            "floor": np.floor,
            "ceil": np.ceil,
        }
        default = "floor" if node.kind == "Upsample" else "round_prefer_floor"
        rounded = roundings[node.attributes.get("nearest_mode", default)](where)
        return taken(builder, name, axis, np.clip(rounded, 0, most).astype(np.int64))
    clipped = np.clip(where, 0, most)
    lower = np.floor(clipped).astype(np.int64)
    upper = np.minimum(lower + 1, most)
    shape = [1] * len(builder.shape(name))
    shape[axis] = len(where)
    share = builder.constant((clipped - lower).reshape(shape).astype(np.float32))
    left, right = taken(builder, name, axis, lower), taken(builder, name, axis, upper)
    step = builder.map(apply("mul", apply("sub", Y, X), Z), left, right, share)
    return builder.map(apply("add", X, Y), left, step)
