"""Convolutions and dense layers as C: dense, as lists of what is not zero, or by tables of what their weights choose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from harness.compiler.blocklist import BlockList, encoded, entries_mask, entry_places
from harness.compiler.choice import Best, Places, best_list, is_by_tile, most_places, takes_lanes
from harness.compiler.ir import Array
from harness.compiler.lanelist import lanes_of
from harness.compiler.lowbits import Levels, codes, levels_of, pays
from harness.compiler.lower import Lowered, Task, limits, lower_operator, patterns_struct, struct
from harness.compiler.operators import Clamp, Conv, Dense, Requantize, Window
from harness.compiler.pack import BLOCK, by_block, bytes_by_four
from harness.compiler.patterns import Registers, best_tile, by_pattern
from harness.compiler.text import literal


class Images(NamedTuple):
    """[n, h, w, c] of a layer's input and results, and of the arrays in memory within which they and the residual lie."""

    x: Sequence[int]
    y: Sequence[int]
    x_memory: Sequence[int]
    y_memory: Sequence[int]
    residual_memory: Sequence[int]

    @property
    def is_row(self) -> bool:
        """Whether all places follow each other."""
        return tuple(self.y[:2]) == (1, 1) and self.x_memory == self.x and self.y_memory == self.residual_memory == self.y


def _shape(window: Window, groups: int, images: Images) -> str:
    (_, height, width, channels), (n, rows, columns, outputs) = images.x_memory, images.y
    sizes = {
        "batch": n,
        "height": height,
        "width": width,
        "channels": channels,
        "rows": rows,
        "columns": columns,
        "outputs": outputs,
    }
    (_, y_height, y_width, _), (_, add_height, add_width, _) = images.y_memory, images.residual_memory
    memory = {"y_height": y_height, "y_width": y_width, "residual_height": add_height, "residual_width": add_width}
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.strides, window.dilations
    moves = {"kernel_h": kh, "kernel_w": kw, "stride_h": sh, "stride_w": sw, "dilation_h": dh, "dilation_w": dw}
    return struct("hk_shape", **sizes, **memory, **moves, groups=groups)


@lower_operator.register
def _conv(op: Conv, task: Task) -> Lowered:
    assert op.window.pads == (0, 0, 0, 0)
    x, y, x_memory, y_memory = task.inputs[0].shape, task.output.shape, task.x_memory[0], task.y_memory
    has_residual = len(task.inputs) > 3 and op.requantize is None
    images = Images(x, y, x_memory, y_memory, task.x_memory[3] if has_residual else y_memory)
    if (
        op.window == Window((1, 1)) and images[:2] == images[2:4] and images.residual_memory == y
    ):  # every place alike: one long row
        images = _row(x[-1], y)
    return _layer(task, op.window, op.groups, op.clamp, op.requantize, images)


@lower_operator.register
def _dense(op: Dense, task: Task) -> Lowered:
    images = _row(task.inputs[0].shape[-1], task.output.shape)
    return _layer(task, Window((1, 1)), 1, op.clamp, op.requantize, images)


def _row(channels: int, y: Sequence[int]) -> Images:
    places = math.prod(y[:-1])
    given, made = (1, 1, places, channels), (1, 1, places, y[-1])
    return Images(given, made, given, made, made)


def _layer(task: Task, window: Window, groups: int, clamp: Clamp, requantize: Requantize | None, images: Images) -> Lowered:
    x, y = images.x, images.y
    weights: Array = task.constant(1, "weights").reshape(*window.kernel, x[3] // groups, y[3])
    bias = task.constant(2, "biases")
    is_depthwise = groups == x[3] == y[3] > 1
    shape = _shape(window, groups, images)
    if is_depthwise:
        weights, in_groups = weights.reshape(*window.kernel, y[3]), 1
    else:
        in_groups = groups
    if requantize is None and groups == 1 and window == Window((1, 1)) and images.is_row:
        found_levels = levels_of(weights[0, 0])
        if found_levels is not None and pays(found_levels, y[0] * y[1] * y[2], task.vectors):
            return _lookup(task, found_levels, bias, clamp)
    step = 1 if requantize is None else 4
    if groups == 1 and x[3] % step == 0:
        places = Places(y[1], y[2], y[0])
        most = most_places(window.strides[1] * x[3] * weights.itemsize)
        mask = entries_mask(weights, step)
        best = best_list(mask, weights.dtype.name, most, task.vectors)
        if requantize is None and takes_lanes(mask, best, task.vectors):
            return _lanes(
                task,
                weights.reshape(-1, y[3]),
                bias,
                entry_places(window, images.x_memory[2], x[3], BLOCK),
                shape,
                clamp,
                places,
                most,
            )
        if best.width is not None:
            return _listed(task, weights, bias, window, clamp, requantize, images, best, most)
    if requantize is not None:
        return _bytes(task, weights, bias, in_groups, shape, requantize, window, is_depthwise=is_depthwise)
    name = "hk_f32_dwconv" if is_depthwise else "hk_f32_conv"
    packed = by_block(weights.astype(np.float32), in_groups), by_block(bias.astype(np.float32), in_groups)
    residual = task.node.inputs[3:4]
    call = f"{name}(x0, x1, x2, {'x3' if residual else 'NULL'}, y,", f"    {shape}, {limits(clamp)}, share);"
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
    call = opening, f"    {shape}, {limits(clamp)}, {most}, {str(by_tile).lower()}, share);"
    computed = len(found.places) / (blocks * len(offsets) * BLOCK)
    inputs: tuple[str | Array, ...] = (task.node.inputs[0], *found, by_block(bias.astype(np.float32), 1), *residual)
    return Lowered("hk_f32_lane_conv", inputs, call, "f32_lane_conv.h", f"lanes {BLOCK}x{BLOCK}", computed)


def _listed(
    task: Task,
    weights: Array,
    bias: Array,
    window: Window,
    clamp: Clamp,
    requantize: Requantize | None,
    images: Images,
    best: Best,
    most: int,
) -> Lowered:
    """The layer by lists of what is not zero in each block of outputs: places of its window, or kernels of few patterns."""
    width, patterns, step, (n, rows, columns, _) = best.width, best.patterns, 1 if requantize is None else 4, images.y
    assert width is not None
    offsets, tile = entry_places(window, images.x_memory[2], images.x[3], step), (0, 0)
    blocks = (by_block(weights, 1, width) if requantize is None else bytes_by_four(weights, 1, width, is_whole=False))[0]
    parts = width // task.vectors.lanes
    if patterns is None:
        found = encoded(blocks.reshape(len(blocks), len(offsets), -1), offsets)
        tiles = Places(rows, columns, n).tiles(min(most, task.vectors.room(parts) // parts))
        form = f"list {width}x{step}"
    else:
        registers = Registers(task.vectors.sums, patterns.taps * parts, parts, 1, 2 * most + 2)
        tile = best_tile((rows, columns), window, patterns.taps, registers)
        found = encoded(by_pattern(blocks, patterns), offsets[: images.x[3]])
        tiles = n * math.ceil(rows / tile[0]) * math.ceil(columns / tile[1])
        form = f"kernels {width}x1 of {len(patterns.ways)} pattern{'s' * (len(patterns.ways) > 1)}"
    by_tile = is_by_tile(found.size_bytes, task.inputs[0].size_bytes, len(blocks), tiles)
    order = f"{width}, {most}, {str(by_tile).lower()}"
    shape = _shape(window, 1, images)
    code = _list(task, found, bias, shape, clamp, requantize, order, width, patterns_struct(patterns, window, tile))
    return replace(code, format=form, computed=found.values.size / blocks.size)


def _list(
    task: Task,
    found: BlockList,
    bias: Array,
    shape: str,
    clamp: Clamp,
    q: Requantize | None,
    order: str,
    width: int,
    patterns: str,
) -> Lowered:
    x, start = task.node.inputs[0], by_block(bias, 1, width)
    if q is None:
        residual = task.node.inputs[3:4]
        opening = f"hk_f32_list_conv(x0, x1, x2, x3, x4, {'x5' if residual else 'NULL'}, y,"
        call = opening, f"    {shape},", f"    {patterns}, {limits(clamp)}, {order}, share);"
        return Lowered("hk_f32_list_conv", (x, *found, start, *residual), call, "f32_list_conv.h")
    totals = _totals(task.constant(1, "weights"))
    opening = f"hk_q8_list_conv(x0, x1, x2, x3, x4, x5, x6, y, {shape},"
    given = f"    {_quantization(task, q)}, {order}, share);"
    constants = start, by_block(totals, 1, width), by_block(task.constant(3, "multipliers"), 1, width)
    return Lowered("hk_q8_list_conv", (x, *found, *constants), (opening, given), "q8_list_conv.h")


def _lookup(task: Task, found: Levels, bias: Array, clamp: Clamp) -> Lowered:
    """The layer by tables of sums, which the bits of its weights choose from."""
    inputs, outputs = found.level.shape
    residual = task.node.inputs[3:4]
    sizes = f"{task.output.elements // outputs}, {inputs}, {outputs}, {found.bits}"
    call = (
        f"hk_f32_lut_dense(x0, x1, x2, x3, x4, {'x5' if residual else 'NULL'}, y,",
        f"    {sizes}, {limits(clamp)}, share);",
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
    low, high = (literal(level - q.zero_point, "float32") for level in (q.low, q.high))
    return struct("hk_requantize", **signs, is_real=int(q.is_real), x_zero=q.x_zero_point, zero=q.zero_point, low=low, high=high)


def _totals(weights: Array) -> Array:
    """int32 [outputs]: sums of each output's weights."""
    return np.asarray(weights.reshape(-1, weights.shape[-1]).sum(0, dtype=np.int32))
