"""Convolutions over images in regions as C: lists of the weights that are not zero, in slabs of input channels."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from harness.compiler.blocklist import BlockList, encoded, entry_places, joined
from harness.compiler.choice import Places, Vectors, best_region_list, slabs
from harness.compiler.ir import Array
from harness.compiler.lower import Lowered, Task, limits, lower_operator, struct
from harness.compiler.pack import by_block
from harness.compiler.regions import BORDER, FromRegions, RegionConv, Regions, ToRegions

SHARED = 2
"""Outputs that share a list: from as many on, what is read of x is used so often that it may come from the second cache."""


@lower_operator.register
def _to(op: ToRegions, task: Task) -> Lowered:
    return _moved("hk_to_regions", op.regions, op.regions.places().ravel(), task, task.inputs[0].shape[3])


@lower_operator.register
def _from(op: FromRegions, task: Task) -> Lowered:
    return _moved("hk_from_regions", op.regions, op.regions.elements_of_places(), task, task.output.shape[3])


def _moved(name: str, regions: Regions, numbers: Array, task: Task, channels: int) -> Lowered:
    sizes = (task.output.shape[0], channels, regions.height * regions.width, regions.elements)
    return Lowered(
        name, (task.node.inputs[0], numbers), (f"{name}(x0, x1, y, {', '.join(map(str, sizes))}, share);",), "regions.h"
    )


class Slabbed(NamedTuple):
    lists: BlockList
    filters: int
    slabs: int


@lower_operator.register
def _conv(op: RegionConv, task: Task) -> Lowered:
    weights, bias = task.constant(1, "weights"), task.constant(2, "biases")
    (batch, channels, *_), (_, outputs, *_) = task.inputs[0].shape, task.output.shape
    found, filters, count = _slabbed(op, weights, task.vectors)
    (x_rows, x_columns), (rows, columns), (_, across) = op.given.vectors, op.made.size, op.made.grid
    sizes = {"batch": batch, "channels": channels, "x_rows": x_rows, "x_columns": x_columns, "outputs": outputs, "rows": rows}
    more = {"columns": columns, "stride": op.window.strides[0], "lanes": op.made.lanes, "filters": filters, "slabs": count}
    inside = op.made.places()[BORDER:-BORDER, BORDER:-BORDER] >= 0
    masks = () if inside.all() else (-inside.astype(np.int32),)
    residual = task.node.inputs[3:4]
    given = (task.node.inputs[0], *found, by_block(bias, 1, filters), *masks, *residual)
    names = "x5" if masks else "NULL", f"x{5 + len(masks)}" if residual else "NULL"
    opening = f"hk_f32_region_conv(x0, x1, x2, x3, x4, {', '.join(names)}, y,"
    call = (
        opening,
        f"    {struct('hk_regions', **sizes, **more)}, {limits(op.clamp)}, {across}, {math.prod(op.made.grid)}, share);",
    )
    computed = len(found.places) * filters / weights.size
    return Lowered("hk_f32_region_conv", given, call, "f32_region_conv.h", f"list {filters}x1 of regions", computed)


def _slabbed(op: RegionConv, weights: Array, vectors: Vectors) -> Slabbed:
    """Lists [slab, block of outputs]; entries of a list are in the order of their channels."""
    kh, kw, channels, outputs = weights.shape
    filters = best_region_list(weights.reshape(-1, outputs) != 0, vectors).width
    assert filters is not None
    blocks = by_block(weights.transpose(2, 0, 1, 3), 1, filters)[0]
    kept = np.count_nonzero(blocks.any(-1)) / len(blocks)
    count = 1 if filters >= SHARED else slabs(channels, _window_bytes(op, filters, vectors), float(kept))
    y, x = op.given.vectors
    within = _places(op).reshape(kh * kw)
    parts = []
    for number in np.array_split(np.arange(channels), count):
        places = number[:, None] * (y * x * op.given.lanes) + within
        parts.append(encoded(blocks[:, number].reshape(len(blocks), -1, filters), places.ravel()))
    return Slabbed(joined(parts), filters, count)


def _places(op: RegionConv) -> Array:
    """[kh, kw]: how many floats of a channel lie before each place of a region's first window."""
    top, left, *_ = op.window.pads
    columns, lanes = op.given.vectors[1], op.given.lanes
    first = ((BORDER - top) * columns + BORDER - left) * lanes
    return entry_places(op.window, columns, lanes, lanes).reshape(op.window.kernel) + first


def _window_bytes(op: RegionConv, filters: int, vectors: Vectors) -> int:
    """Of one channel, what a tile reads."""
    room = vectors.sums if filters == 1 else vectors.sums // 12 * 12  # hk_region_vectors
    tile = Places(*op.made.size).tile(max(1, room // (op.made.lanes // vectors.lanes) // filters))
    (kh, kw), (dh, dw), stride = op.window.kernel, op.window.dilations, op.window.strides[0]
    rows, columns = ((t - 1) * stride + d * (k - 1) + 1 for t, k, d in zip(tile, (kh, kw), (dh, dw), strict=True))
    return rows * columns * op.made.lanes * 4
