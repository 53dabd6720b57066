"""Each operator as C: the kernel that does it, its weights as that kernel reads them, and the lines that call it with constant sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np

from harness.compiler.blocklist import BlockList, encoded, entries_mask, entry_places
from harness.compiler.choice import ANY_VECTORS, Places, Vectors, chosen_width, is_by_tile, most_places, takes_lanes
from harness.compiler.ir import Array, Graph, Node, Operator, Type
from harness.compiler.lanelist import lanes_of
from harness.compiler.lowbits import Levels, codes, levels_of, pays
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
from harness.compiler.pack import BLOCK, by_block, bytes_by_four
from harness.compiler.text import View, broadcast, literal, loops, statements, strides_of, type_name
from harness.errors import Unsupported

ALONE = "const hk_share share = {0, 1};"
"""In a body that one thread does."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """The body of one layer's function, over x0, x1 ... (its inputs in order) and y."""

    kernel: str
    """What computes: the name of a function of `harness/kernels/`, or `loops`."""
    inputs: tuple[str | Array, ...]
    """Tensors, and weights as the kernel reads them."""
    body: tuple[str, ...]
    header: str = "scalars.h"
    """Where the kernel is."""
    format: str = "dense"
    """How weights are kept: `dense`; `list 16x4`: of what is not zero in blocks of so many outputs x inputs; `lanes 16x16`: of what each of 16
    outputs has of 16 inputs."""
    computed: float = 1.0
    """The part of all products with weights that it computes."""

    @property
    def can_share(self) -> bool:
        """Whether the body does the part of the work that `share` names, so that several threads can do it together."""
        return any("share" in line for line in self.body) and ALONE not in self.body


@dataclass(frozen=True, slots=True)
class Task:
    """A node with what lowering it needs to know."""

    node: Node
    inputs: tuple[Type, ...]
    output: Type
    constants: Mapping[str, Array]
    vectors: Vectors

    def constant(self, index: int, what: str) -> Array:
        name = self.node.inputs[index]
        if name not in self.constants:
            raise Unsupported(f"node `{self.node.origin}`: its {what} are computed at run time")
        return self.constants[name]


def lowered(graph: Graph, node: Node, vectors: Vectors = ANY_VECTORS) -> Lowered:
    types = tuple(graph.types[name] for name in node.inputs)
    for found in (*types, graph.types[node.output]):
        type_name(found.dtype, node.origin)
        if found.elements >= 2**31:
            raise Unsupported(f"node `{node.origin}`: a tensor of {found.elements} elements")
    return lower_operator(node.op, Task(node, types, graph.types[node.output], graph.constants, vectors))


@singledispatch
def lower_operator(op: Operator, task: Task) -> Lowered:
    raise Unsupported(f"node `{task.node.origin}`: no kernel for {type(op).__name__}")


def struct(kind: str, **members: int | str) -> str:
    return f"({kind}){{{', '.join(f'.{name} = {value}' for name, value in members.items())}}}"


def _shape(window: Window, groups: int, x: Sequence[int], y: Sequence[int]) -> str:
    (n, h, w, c), (_, rows, columns, outputs) = x, y
    if window == Window((1, 1)):  # every place alike: one long row
        n, h, w, rows, columns = 1, 1, n * h * w, 1, n * h * w
    sizes = {"batch": n, "height": h, "width": w, "channels": c, "rows": rows, "columns": columns, "outputs": outputs}
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.strides, window.dilations
    moves = {"kernel_h": kh, "kernel_w": kw, "stride_h": sh, "stride_w": sw, "dilation_h": dh, "dilation_w": dw}
    return struct("hk_shape", **sizes, **moves, groups=groups)


@lower_operator.register
def _conv(op: Conv, task: Task) -> Lowered:
    assert op.window.pads == (0, 0, 0, 0)
    return _layer(task, op.window, op.groups, op.clamp, op.requantize, task.inputs[0].shape, task.output.shape)


@lower_operator.register
def _dense(op: Dense, task: Task) -> Lowered:
    rows = (1, 1, task.output.elements // task.output.shape[-1])
    x, y = (*rows, task.inputs[0].shape[-1]), (*rows, task.output.shape[-1])
    return _layer(task, Window((1, 1)), 1, op.clamp, op.requantize, x, y)


def _layer(
    task: Task, window: Window, groups: int, clamp: Clamp, requantize: Requantize | None, x: Sequence[int], y: Sequence[int]
) -> Lowered:
    weights: Array = task.constant(1, "weights").reshape(*window.kernel, x[3] // groups, y[3])
    bias = task.constant(2, "biases")
    is_depthwise = groups == x[3] == y[3] > 1
    shape = _shape(window, groups, x, y)
    if is_depthwise:
        weights, in_groups = weights.reshape(*window.kernel, y[3]), 1
    else:
        in_groups = groups
    if requantize is None and groups == 1 and window == Window((1, 1)):
        found_levels = levels_of(weights[0, 0])
        if found_levels is not None and pays(found_levels, y[0] * y[1] * y[2], task.vectors):
            return _lookup(task, found_levels, bias, clamp)
    step = 1 if requantize is None else 4
    if groups == 1 and x[3] % step == 0:
        places = Places(1, y[0] * y[1] * y[2]) if window == Window((1, 1)) else Places(y[1], y[2], y[0])
        most = most_places(window.strides[1] * x[3] * weights.itemsize)
        mask = entries_mask(weights, step)
        if requantize is None and takes_lanes(mask, x[3], most, task.vectors):
            return _lanes(
                task, weights.reshape(mask.shape), bias, entry_places(window, x[2], x[3], BLOCK), shape, clamp, places, most
            )
        width = chosen_width(mask, weights.dtype.name, most, task.vectors)
        if width is not None:
            offsets = entry_places(window, x[2], x[3], step)
            blocks = (by_block(weights, 1, width) if requantize is None else bytes_by_four(weights, 1, width, is_whole=False))[0]
            found = encoded(blocks.reshape(len(blocks), len(offsets), -1), offsets)
            tiles = places.tiles(min(most, task.vectors.sums * task.vectors.lanes // width))
            by_tile = is_by_tile(found.size_bytes, task.inputs[0].size_bytes, len(blocks), tiles)
            code = _list(task, found, bias, shape, clamp, requantize, f"{width}, {most}, {str(by_tile).lower()}", width)
            return replace(code, format=f"list {width}x{step}", computed=len(found.places) / (len(blocks) * len(offsets)))
    if requantize is not None:
        return _bytes(task, weights, bias, in_groups, shape, requantize, window, is_depthwise=is_depthwise)
    name = "hk_f32_dwconv" if is_depthwise else "hk_f32_conv"
    packed = by_block(weights.astype(np.float32), in_groups), by_block(bias.astype(np.float32), in_groups)
    residual = task.node.inputs[3:4]
    low, high = literal(clamp.low, "float32"), literal(clamp.high, "float32")
    call = f"{name}(x0, x1, x2, {'x3' if residual else 'NULL'}, y,", f"    {shape}, {low}, {high}, share);"
    return Lowered(name, (task.node.inputs[0], *packed, *residual), call, f"{name.removeprefix('hk_')}.h")


def _bytes(
    task: Task, weights: Array, bias: Array, groups: int, shape: str, q: Requantize, window: Window, *, is_depthwise: bool
) -> Lowered:
    multiplier = by_block(task.constant(3, "multipliers"), groups)
    totals = _totals(weights)
    quantization, x = _quantization(task, q), task.node.inputs[0]
    if is_depthwise:
        start = (bias - q.x_zero_point * totals).astype(np.int32)
        call = "hk_q8_dwconv(x0, x1, x2, x3, y,", f"    {shape},", f"    {quantization}, share);"
        return Lowered("hk_q8_dwconv", (x, by_block(weights, 1), by_block(start, 1), multiplier), call, "q8_dwconv.h")
    packed = bytes_by_four(weights, groups, is_whole=groups == 1 and window.dilations[1] == 1)
    constants = packed, by_block(bias, groups), by_block(totals, groups), multiplier
    call = "hk_q8_conv(x0, x1, x2, x3, x4, y,", f"    {shape},", f"    {quantization}, share);"
    return Lowered("hk_q8_conv", (x, *constants), call, "q8_conv.h")


def _lanes(
    task: Task, weights: Array, bias: Array, offsets: Array, shape: str, clamp: Clamp, places: Places, most: int
) -> Lowered:
    """The layer, weights [entries, outputs], by lists in which each output has its own channels."""
    found, residual = lanes_of(weights.astype(np.float32), offsets), task.node.inputs[3:4]
    blocks = len(found.starts) - 1
    by_tile = is_by_tile(found.size_bytes, task.inputs[0].size_bytes, blocks, places.tiles(min(most, task.vectors.sums)))
    opening = f"hk_f32_lane_conv(x0, x1, x2, x3, x4, x5, {'x6' if residual else 'NULL'}, y,"
    limits = f"{literal(clamp.low, 'float32')}, {literal(clamp.high, 'float32')}"
    call = opening, f"    {shape}, {limits}, {most}, {str(by_tile).lower()}, share);"
    computed = len(found.places) / (blocks * len(offsets) * BLOCK)
    inputs: tuple[str | Array, ...] = (task.node.inputs[0], *found, by_block(bias.astype(np.float32), 1), *residual)
    return Lowered("hk_f32_lane_conv", inputs, call, "f32_lane_conv.h", f"lanes {BLOCK}x{BLOCK}", computed)


def _list(
    task: Task, found: BlockList, bias: Array, shape: str, clamp: Clamp, q: Requantize | None, order: str, width: int
) -> Lowered:
    """The layer by lists of what is not zero in each block of `width` outputs."""
    x, start = task.node.inputs[0], by_block(bias, 1, width)
    if q is None:
        residual = task.node.inputs[3:4]
        opening = f"hk_f32_list_conv(x0, x1, x2, x3, x4, {'x5' if residual else 'NULL'}, y,"
        limits = f"{literal(clamp.low, 'float32')}, {literal(clamp.high, 'float32')}"
        call = opening, f"    {shape}, {limits}, {order}, share);"
        return Lowered("hk_f32_list_conv", (x, *found, start, *residual), call, "f32_list_conv.h")
    totals = _totals(task.constant(1, "weights"))
    opening = f"hk_q8_list_conv(x0, x1, x2, x3, x4, x5, x6, y, {shape},"
    call = opening, f"    {_quantization(task, q)}, {order}, share);"
    constants = start, by_block(totals, 1, width), by_block(task.constant(3, "multipliers"), 1, width)
    return Lowered("hk_q8_list_conv", (x, *found, *constants), call, "q8_list_conv.h")


def _lookup(task: Task, found: Levels, bias: Array, clamp: Clamp) -> Lowered:
    """The layer by tables of sums, which the bits of its weights choose from."""
    inputs, outputs = found.level.shape
    residual = task.node.inputs[3:4]
    sizes = f"{task.output.elements // outputs}, {inputs}, {outputs}, {found.bits}"
    call = (
        f"hk_f32_lut_dense(x0, x1, x2, x3, x4, {'x5' if residual else 'NULL'}, y,",
        f"    {sizes}, {literal(clamp.low, 'float32')}, {literal(clamp.high, 'float32')}, share);",
    )
    read: tuple[str | Array, ...] = (
        task.node.inputs[0],
        codes(found),
        found.step,
        found.middle,
        bias.astype(np.float32),
        *residual,
    )
    return Lowered("hk_f32_lut_dense", read, call, "f32_lut_dense.h", f"lut {found.bits} bit{'s' * (found.bits > 1)}")


def _quantization(task: Task, q: Requantize) -> str:
    signs = {"is_signed": int(task.inputs[0].dtype == "int8"), "is_full": int((task.constant(1, "weights") == -128).any())}
    return struct("hk_requantize", **signs, x_zero=q.x_zero_point, zero=q.zero_point, low=q.low, high=q.high)


def _totals(weights: Array) -> Array:
    """int32 [outputs]: sums of each output's weights."""
    return np.asarray(weights.reshape(-1, weights.shape[-1]).sum(0, dtype=np.int32))


@lower_operator.register
def _matmul(op: MatMul, task: Task) -> Lowered:  # noqa: ARG001
    (a, b), y = (t.shape for t in task.inputs), task.output.shape
    rows, depth, columns = a[-2], a[-1], b[-1]
    views = [broadcast(name, shape[:-2], y[:-2]) for name, shape in (("x0", a), ("x1", b), ("y", y))]
    scaled = [
        View(v.name, tuple(stride * size for stride in v.strides))
        for v, size in zip(views, (rows * depth, depth * columns, rows * columns), strict=True)
    ]
    body = loops(y[:-2], scaled, lambda e: [f"hk_f32_matmul(&{e[0]}, &{e[1]}, &{e[2]}, {rows}, {depth}, {columns});"])
    return Lowered("hk_f32_matmul", task.node.inputs, tuple(body), "f32_matmul.h")


@lower_operator.register
def _pool(op: Pool, task: Task) -> Lowered:
    (n, h, w, c), (_, rows, columns, _) = task.inputs[0].shape, task.output.shape
    (kh, kw), (sh, sw), (dh, dw) = op.window.kernel, op.window.strides, op.window.dilations
    sizes = {"batch": n, "height": h, "width": w, "channels": c, "rows": rows, "columns": columns, "kernel_h": kh, "kernel_w": kw}
    moves = {
        "stride_h": sh,
        "stride_w": sw,
        "dilation_h": dh,
        "dilation_w": dw,
        "top": op.window.pads[0],
        "left": op.window.pads[1],
    }
    kinds = {"float32": "f32", "int8": "s8", "uint8": "u8"}
    if task.output.dtype not in kinds:
        raise Unsupported(f"node `{task.node.origin}`: pooling of {task.output.dtype}")
    name = f"hk_{kinds[task.output.dtype]}_{op.kind}_pool"
    counts = f", {str(op.counts_padding).lower()}" if op.kind == "mean" else ""
    return Lowered(name, task.node.inputs, (f"{name}(x0, y, {struct('hk_pool', **sizes, **moves)}{counts}, share);",), "pool.h")


@lower_operator.register
def _map(op: Map, task: Task) -> Lowered:
    views = [View("y", strides_of(op.shape))]
    views += [broadcast(f"x{i}", t.shape, op.shape) for i, t in enumerate(task.inputs)]
    dtypes = [t.dtype for t in task.inputs]

    def body(elements: Sequence[str]) -> list[str]:
        lines, value = statements(op.expression, elements[1:], dtypes, task.node.origin)
        return [*lines, f"{elements[0]} = {value};"]

    return Lowered("loops", task.node.inputs, tuple(loops(op.shape, views, body)))


@lower_operator.register
def _reduce(op: Reduce, task: Task) -> Lowered:
    shape = task.inputs[0].shape
    outer, count = math.prod(shape[: op.axes[0]]), math.prod(shape[axis] for axis in op.axes)
    inner = math.prod(shape[op.axes[-1] + 1 :])
    kinds = {"float32": "f32", "int64": "s64", "int32": "s32"}
    if task.output.dtype not in kinds:
        raise Unsupported(f"node `{task.node.origin}`: {op.kind} of {task.output.dtype}")
    name = f"hk_{kinds[task.output.dtype]}_{op.kind}"
    return Lowered(name, task.node.inputs, (f"{name}(x0, y, {outer}, {count}, {inner});",), "reduce.h")


@lower_operator.register
def _softmax(op: Softmax, task: Task) -> Lowered:
    shape = task.output.shape
    outer, inner = math.prod(shape[: op.axis]), math.prod(shape[op.axis + 1 :])
    call = f"hk_f32_softmax(x0, y, {outer}, {shape[op.axis]}, {inner}, {str(op.log).lower()});"
    return Lowered("hk_f32_softmax", task.node.inputs, (call,), "rows.h")


@lower_operator.register
def _normalize(op: Normalize, task: Task) -> Lowered:
    count = task.output.shape[-1]
    call = f"hk_f32_normalize(x0, x1, x2, y, {task.output.elements // count}, {count}, {literal(op.epsilon, 'float32')});"
    return Lowered("hk_f32_normalize", task.node.inputs, (call,), "rows.h")


def _copied(task: Task, shape: Sequence[int], views: Sequence[View]) -> Lowered:
    return Lowered("loops", task.node.inputs, tuple(loops(shape, views, lambda e: [f"{e[0]} = {e[1]};"])))


@lower_operator.register
def _reshape(op: Reshape, task: Task) -> Lowered:
    return _copied(task, op.shape, [View(name, strides_of(op.shape)) for name in ("y", "x0")])


@lower_operator.register
def _transpose(op: Transpose, task: Task) -> Lowered:
    strides = strides_of(task.inputs[0].shape)
    views = [View("y", strides_of(task.output.shape)), View("x0", tuple(strides[axis] for axis in op.axes))]
    return _copied(task, task.output.shape, views)


@lower_operator.register
def _slice(op: Slice, task: Task) -> Lowered:
    strides = strides_of(task.inputs[0].shape)
    steps = tuple(step * stride for step, stride in zip(op.steps, strides, strict=True))
    offset = sum(start * stride for start, stride in zip(op.starts, strides, strict=True))
    return _copied(task, op.sizes, [View("y", strides_of(op.sizes)), View("x0", steps, offset)])


@lower_operator.register
def _concat(op: Concat, task: Task) -> Lowered:
    strides, start = strides_of(task.output.shape), 0
    lines: list[str] = []
    for index, part in enumerate(task.inputs):
        views = [View("y", strides, start * strides[op.axis]), View(f"x{index}", strides_of(part.shape))]
        lines += loops(part.shape, views, lambda e: [f"{e[0]} = {e[1]};"])
        start += part.shape[op.axis]
    return Lowered("loops", task.node.inputs, tuple(lines))


@lower_operator.register
def _pad(op: Pad, task: Task) -> Lowered:
    shape, strides = task.inputs[0].shape, strides_of(task.output.shape)
    itemsize = np.dtype(task.output.dtype).itemsize
    value = np.asarray(op.value, task.output.dtype)
    is_image = len(shape) == 4 and not any((op.before[0], op.after[0], op.before[3], op.after[3]))
    if is_image and (itemsize == 1 or not value.tobytes().strip(b"\0")):
        row = shape[3] * itemsize
        sizes = (shape[0], shape[1], shape[2] * row, op.before[1], op.after[1], op.before[2] * row, op.after[2] * row)
        call = f"hk_pad(x0, y, {', '.join(map(str, sizes))}, {value.tobytes()[0]}, share);"
        return Lowered("hk_pad", task.node.inputs, (call,), "moves.h")
    fill = loops(task.output.shape, [View("y", strides)], lambda e: [f"{e[0]} = {literal(value.item(), task.output.dtype)};"])
    offset = sum(before * stride for before, stride in zip(op.before, strides, strict=True))
    copy = loops(shape, [View("y", strides, offset), View("x0", strides_of(shape))], lambda e: [f"{e[0]} = {e[1]};"])
    return Lowered("loops", task.node.inputs, (ALONE, *fill, *copy))  # what one thread has copied, another may not fill


@lower_operator.register
def _gather(op: Gather, task: Task) -> Lowered:
    x, places = task.inputs
    outer = math.prod(x.shape[: op.axis])
    row = math.prod(x.shape[op.axis + 1 :]) * np.dtype(x.dtype).itemsize
    name = "hk_gather_s64" if places.dtype == "int64" else "hk_gather_s32"
    call = f"{name}(x0, x1, y, {outer}, {x.shape[op.axis]}, {row}, {places.elements});"
    return Lowered(name, task.node.inputs, (call,), "moves.h")
