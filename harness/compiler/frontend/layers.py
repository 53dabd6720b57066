"""ONNX operators that compute with weights, windows or whole rows: convolutions, products, pools, reductions, normalization, softmax.

ONNX images are [n, c, h, w] and ours [n, h, w, c]: each layer is put between two transposes, which a pass then moves together and cancels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.compiler.expression import Apply, apply
from harness.compiler.frontend.builder import Builder, OnnxNode, axis_of, converts
from harness.compiler.frontend.elementwise import X, Y, real
from harness.compiler.operators import Conv, Dense, MatMul, Normalize, Pad, Pool, Reduce, Slice, Softmax, Window

TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
Pads = tuple[int, int, int, int]


def images(builder: Builder, node: OnnxNode, name: str) -> str:
    """[n, c, h, w] or [n, c, w] -> [n, h, w, c], with h = 1 where there is none."""
    shape = builder.shape(name)
    if len(shape) == 3:
        name = builder.reshape(name, (*shape[:2], 1, shape[2]))
    elif len(shape) != 4:
        raise node.unsupported(f"an input of {len(shape)} axes; images have 4 and signals 3")
    return builder.transpose(name, TO_LAST)


def as_onnx(builder: Builder, name: str, rank: int) -> str:
    """The way back."""
    found = builder.transpose(name, TO_FIRST)
    shape = builder.shape(found)
    return found if rank == 4 else builder.reshape(found, (*shape[:2], shape[3]))


def window_of(node: OnnxNode, kernel: Sequence[int], size: Sequence[int]) -> Window:
    """The window that slides over an image of `size`, from the node's attributes; for a signal, all have one number."""
    attributes, count = node.attributes, len(kernel)
    strides = tuple(attributes.get("strides") or [1] * count)
    dilations = tuple(attributes.get("dilations") or [1] * count)
    pads = [int(pad) for pad in attributes.get("pads") or [0] * 2 * count]
    how = attributes.get("auto_pad", "NOTSET")
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    if how == "VALID":
        pads = [0] * 2 * count
    elif how in ("SAME_UPPER", "SAME_LOWER"):
        totals = [max((-(-n // s) - 1) * s + span - n, 0) for n, s, span in zip(size, strides, spans, strict=True)]
        lower = [total // 2 if how == "SAME_UPPER" else -(-total // 2) for total in totals]
        pads = [*lower, *(total - less for total, less in zip(totals, lower, strict=True))]
    if min(pads, default=0) < 0:
        raise node.unsupported("negative pads")
    if attributes.get("ceil_mode"):
        for axis, (n, s, span) in enumerate(zip(size, strides, spans, strict=True)):
            padded = n + pads[axis] + pads[axis + count]
            places = -(-(padded - span) // s) + 1
            # The last window must begin within the image or the padding before it.
            places -= (places - 1) * s >= n + pads[axis]
            more = (places - 1) * s + span - padded
            if more > 0 and attributes.get("count_include_pad"):
                raise node.unsupported("count_include_pad together with windows that ceil_mode lets hang over")
            pads[axis + count] += max(more, 0)
    if count == 1:
        return Window((1, int(kernel[0])), (1, strides[0]), (0, pads[0], 0, pads[1]), (1, dilations[0]))
    return Window((int(kernel[0]), int(kernel[1])), (strides[0], strides[1]), _four(pads), (dilations[0], dilations[1]))


def _four(pads: Sequence[int]) -> Pads:
    return (pads[0], pads[1], pads[2], pads[3])


def static(builder: Builder, node: OnnxNode, name: str, what: str) -> str:
    if name not in builder.static:
        raise node.unsupported(f"its {what} are computed at run time")
    return name


def _bias(builder: Builder, inputs: Sequence[str], index: int, outputs: int) -> str:
    return inputs[index] if index < len(inputs) and inputs[index] else builder.constant(np.zeros(outputs, np.float32))


@converts("Conv")
def _conv(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    """Weights [outputs, c / groups, kh, kw]."""
    rank, shape = len(builder.shape(inputs[0])), builder.shape(inputs[1])
    if rank not in (3, 4):
        raise node.unsupported(f"an input of {rank} axes; images have 4 and signals 3")
    weights = static(builder, node, inputs[1], "weights")
    if rank == 3:
        weights = builder.reshape(weights, (*shape[:2], 1, shape[2]))
    weights = builder.transpose(weights, (2, 3, 1, 0))
    window = window_of(node, shape[2:], builder.shape(inputs[0])[2:])
    bias = static(builder, node, _bias(builder, inputs, 2, shape[0]), "biases")
    found = builder.add(Conv(window, node.attributes.get("group", 1)), images(builder, node, inputs[0]), weights, bias)
    return as_onnx(builder, found, rank)


@converts("ConvTranspose")
def _conv_transpose(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    """A convolution, by the kernel turned around, of the image with zeros between its places. Weights [c, outputs / groups, kh, kw]."""
    attributes, shape = node.attributes, builder.shape(inputs[1])
    if len(shape) != 4 or "output_shape" in attributes or attributes.get("auto_pad", "NOTSET") != "NOTSET":
        raise node.unsupported("transposed convolution with other than 4 axes, or with output_shape or auto_pad")
    groups = attributes.get("group", 1)
    weights = builder.value(node, inputs[1]).reshape(groups, shape[0] // groups, *shape[1:])
    # [g, c / g, o / g, kh, kw] -> [kh, kw, c / g, g * o / g]
    turned = weights[..., ::-1, ::-1].transpose(3, 4, 1, 0, 2).reshape(*shape[2:], shape[0] // groups, -1)
    (sh, sw), (dh, dw) = attributes.get("strides") or (1, 1), attributes.get("dilations") or (1, 1)
    pads, more = attributes.get("pads") or (0, 0, 0, 0), attributes.get("output_padding") or (0, 0)
    spread = _spread(builder, images(builder, node, inputs[0]), sh, sw)
    spans = (dh * (shape[2] - 1), dw * (shape[3] - 1))
    around = (spans[0] - pads[0], spans[1] - pads[1], spans[0] - pads[2] + more[0], spans[1] - pads[3] + more[1])
    if min(around) < 0:
        raise node.unsupported("pads beyond the kernel")
    bias = static(builder, node, _bias(builder, inputs, 2, turned.shape[3]), "biases")
    conv = Conv(Window((shape[2], shape[3]), (1, 1), around, (dh, dw)), groups)
    return as_onnx(builder, builder.add(conv, spread, builder.constant(turned), bias), 4)


def _spread(builder: Builder, name: str, sh: int, sw: int) -> str:
    """[n, h, w, c] -> [n, (h - 1) sh + 1, (w - 1) sw + 1, c], zeros between: pad along axes of size 1 and fold them in."""
    n, h, w, c = builder.shape(name)
    apart = builder.reshape(name, (n, h, 1, w, 1, c))
    padded = builder.add(Pad((0,) * 6, (0, 0, sh - 1, 0, sw - 1, 0)), apart)
    whole = builder.reshape(padded, (n, h * sh, w * sw, c))
    return builder.add(Slice((0,) * 4, (n, (h - 1) * sh + 1, (w - 1) * sw + 1, c), (1,) * 4), whole)


@converts("MatMul")
def _matmul(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:  # noqa: ARG001
    a, b = inputs
    shape_a, shape_b = builder.shape(a), builder.shape(b)
    if len(shape_a) == 1:
        a = builder.reshape(a, (1, *shape_a))
    if len(shape_b) == 1:
        b = builder.reshape(b, (*shape_b, 1))
    if b in builder.static and len(builder.shape(b)) == 2:
        found = builder.add(Dense(), a, b, _bias(builder, (), 0, builder.shape(b)[1]))
    else:
        found = builder.add(MatMul(), a, b)
    shape = list(builder.shape(found))
    if len(shape_a) == 1:
        del shape[-2]
    if len(shape_b) == 1:
        del shape[-1]
    return builder.reshape(found, shape)


@converts("Gemm")
def _gemm(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    """alpha * A' B' + beta * C."""
    attributes = node.attributes
    a = builder.transpose(inputs[0], (1, 0)) if attributes.get("transA") else inputs[0]
    b = builder.transpose(inputs[1], (1, 0)) if attributes.get("transB") else inputs[1]
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    outputs = builder.shape(b)[1]
    if alpha != 1.0:
        b = builder.map(apply("mul", X, real(alpha)), b)
    c = inputs[2] if node.has(2) else ""
    if c and beta != 1.0:
        c = builder.map(apply("mul", X, real(beta)), c)
    if b not in builder.static:
        found = builder.add(MatMul(), a, b)
        return builder.map(apply("add", X, Y), found, c) if c else found
    is_bias = bool(c) and c in builder.static and builder.types[c].elements == outputs == builder.shape(c)[-1]
    found = builder.add(Dense(), a, b, builder.reshape(c, (outputs,)) if is_bias else _bias(builder, (), 0, outputs))
    return builder.map(apply("add", X, Y), found, c) if c and not is_bias else found


@converts("MaxPool", "AveragePool")
def _pool(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    if len(node.outputs) > 1 and node.outputs[1]:
        raise node.unsupported("its second output, the places of the greatest")
    shape = builder.shape(inputs[0])
    window = window_of(node, node.attributes["kernel_shape"], shape[2:])
    counts = bool(node.attributes.get("count_include_pad", 0))
    pool = Pool("max", window) if node.kind == "MaxPool" else Pool("mean", window, counts)
    return as_onnx(builder, builder.add(pool, images(builder, node, inputs[0])), len(shape))


@converts("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    axes = tuple(range(2, len(builder.shape(inputs[0]))))
    return builder.add(Reduce("mean" if node.kind == "GlobalAveragePool" else "max", axes), inputs[0])


REDUCTIONS: dict[str, tuple[Apply | None, Any, Apply | None]] = {
    "ReduceSum": (None, "sum", None),
    "ReduceMean": (None, "mean", None),
    "ReduceMax": (None, "max", None),
    "ReduceMin": (None, "min", None),
    "ReduceProd": (None, "prod", None),
    "ReduceL1": (apply("abs", X), "sum", None),
    "ReduceL2": (apply("mul", X, X), "sum", apply("sqrt", X)),
    "ReduceSumSquare": (apply("mul", X, X), "sum", None),
}
"""What is done to each element, how they are put together, and what is done to the result."""


@converts(*REDUCTIONS)
def _reduce(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    shape = builder.shape(inputs[0])
    given = builder.value(node, inputs[1]).ravel().tolist() if node.has(1) else node.attributes.get("axes")
    if not given and node.attributes.get("noop_with_empty_axes"):
        return inputs[0]
    axes = sorted({axis_of(node, int(a), len(shape)) for a in given}) if given else list(range(len(shape)))
    before, kind, after = REDUCTIONS[node.kind]
    found = inputs[0] if before is None else builder.map(before, inputs[0])
    if axes:
        found = reduced(builder, found, kind, axes)
    keeps = node.attributes.get("keepdims", 1)
    sizes = [1 if axis in axes else size for axis, size in enumerate(shape) if keeps or axis not in axes]
    found = builder.reshape(found, sizes)
    return found if after is None else builder.map(after, found)


def reduced(builder: Builder, name: str, kind: Any, axes: Sequence[int]) -> str:
    """Over any axes: those that are no neighbours are brought to the end."""
    if list(axes) == list(range(axes[0], axes[-1] + 1)):
        return builder.add(Reduce(kind, tuple(axes)), name)
    rank = len(builder.shape(name))
    moved = builder.transpose(name, [axis for axis in range(rank) if axis not in axes] + list(axes))
    return builder.add(Reduce(kind, tuple(range(rank - len(axes), rank))), moved)


@converts("BatchNormalization")
def _batch_normalization(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    """x * scale' + shift' for each channel; a pass folds both into the convolution before."""
    if node.attributes.get("training_mode"):
        raise node.unsupported("training mode")
    gain, shift, mean, variance = (builder.value(node, name).astype(np.float64) for name in inputs[1:5])
    scale = gain / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    shape = (-1, *[1] * (len(builder.shape(inputs[0])) - 2))
    scaled = builder.map(apply("mul", X, Y), inputs[0], builder.constant(scale.reshape(shape).astype(np.float32)))
    return builder.map(apply("add", X, Y), scaled, builder.constant((shift - mean * scale).reshape(shape).astype(np.float32)))


@converts("LRN")
def _local_response(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    """x / (bias + alpha * m)^beta, m the mean of the squares of `size` neighbouring channels: a pool along them, zeros beyond the ends."""
    attributes, shape = node.attributes, builder.shape(inputs[0])
    size = attributes["size"]
    column = builder.reshape(builder.map(apply("mul", X, X), inputs[0]), (shape[0], shape[1], 1, math.prod(shape[2:])))
    window = Window((size, 1), pads=((size - 1) // 2, 0, size // 2, 0))
    mean = builder.reshape(builder.add(Pool("mean", window, counts_padding=True), column), shape)
    scaled = apply("mul", real(attributes.get("alpha", 1e-4)), Y)
    power = apply("pow", apply("add", real(attributes.get("bias", 1.0)), scaled), real(attributes.get("beta", 0.75)))
    return builder.map(apply("div", X, power), inputs[0], mean)


@converts("LayerNormalization")
def _layer_normalization(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    if any(node.outputs[1:]):
        raise node.unsupported("its second and third output")
    shape = builder.shape(inputs[0])
    axis = axis_of(node, node.attributes.get("axis", -1), len(shape))
    row = math.prod(shape[axis:])
    rows = builder.reshape(inputs[0], (*shape[:axis], row))
    gain, bias = (
        np.broadcast_to(builder.value(node, inputs[i]) if node.has(i) else np.float32(0), shape[axis:]).ravel() for i in (1, 2)
    )
    op = Normalize(float(node.attributes.get("epsilon", 1e-5)))
    return builder.reshape(builder.add(op, rows, builder.constant(gain), builder.constant(bias)), shape)


@converts("Softmax", "LogSoftmax")
def _softmax(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    """Before opset 13 all axes from `axis` on were one."""
    shape, is_old = builder.shape(inputs[0]), builder.opset < 13
    axis = axis_of(node, node.attributes.get("axis", 1 if is_old else -1), len(shape))
    softmax = Softmax(axis, node.kind == "LogSoftmax")
    if not is_old or axis == len(shape) - 1:
        return builder.add(softmax, inputs[0])
    rows = builder.reshape(inputs[0], (*shape[:axis], math.prod(shape[axis:])))
    return builder.reshape(builder.add(softmax, rows), shape)
