"""Convolutions over images in regions as C: lists of the weights that are not zero, in slabs of input channels."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from harness.compiler.blocklist import BlockList, encoded, entry_places, joined
from harness.compiler.choice import Places, Vectors, best_region_list, pattern_slabs, slabs
from harness.compiler.ir import Array
from harness.compiler.lower import Lowered, Task, limits, lower_operator, patterns_struct, struct
from harness.compiler.pack import by_block
from harness.compiler.patterns import Patterns, Registers, best_tile, by_pattern, reads
from harness.compiler.regions import BORDER, FromRegions, RegionConv, ToRegions

SHARED = 2
"""Outputs that share a list: from as many on, what is read of x is used so often that it may come from the second cache."""


@lower_operator.register
def _to(op: ToRegions, task: Task) -> Lowered:
    (_, height, width, channels), places = task.x_memory[0], op.regions.places().ravel()
    lines, columns = np.divmod(places, op.regions.width)
    numbers = np.where(places < 0, -1, lines * width + columns).astype(np.int32)
    return _moved("hk_to_regions", height * width, op.regions.elements, numbers, task, channels)


@lower_operator.register
def _from(op: FromRegions, task: Task) -> Lowered:
    places, numbers = op.regions.height * op.regions.width, op.regions.elements_of_places()
    return _moved("hk_from_regions", places, op.regions.elements, numbers, task, task.output.shape[3])


def _moved(name: str, places: int, elements: int, numbers: Array, task: Task, channels: int) -> Lowered:
    sizes = (task.output.shape[0], channels, places, elements)
    return Lowered(
        name, (task.node.inputs[0], numbers), (f"{name}(x0, x1, y, {', '.join(map(str, sizes))}, share);",), "regions.h"
    )


@lower_operator.register
def _conv(op: RegionConv, task: Task) -> Lowered:
    weights, bias = task.constant(1, "weights"), task.constant(2, "biases")
    (batch, channels, *_), (_, outputs, *_) = task.inputs[0].shape, task.output.shape
    how = best_region_list(weights != 0, task.vectors)
    filters = how.width
    assert filters is not None
    if how.patterns is None:
        (found, count), tile = _slabbed(op, weights, filters, task.vectors), (0, 0)
    else:
        tile = _tile(op, how.patterns, task.vectors)
        found, count = _by_pattern(op, weights, how.patterns, tile)
    (x_rows, x_columns), (rows, columns), (_, across) = op.given.vectors, op.made.size, op.made.grid
    sizes = {"batch": batch, "channels": channels, "x_rows": x_rows, "x_columns": x_columns, "outputs": outputs, "rows": rows}
    more = {"columns": columns, "stride": op.window.strides[0], "lanes": op.made.lanes, "filters": filters, "slabs": count}
    inside = op.made.places()[BORDER:-BORDER, BORDER:-BORDER] >= 0
    masks = () if inside.all() else (-inside.astype(np.int32),)
    residual = task.node.inputs[3:4]
    given = (task.node.inputs[0], *found, by_block(bias, 1, filters), *masks, *residual)
    names = "x5" if masks else "NULL", f"x{5 + len(masks)}" if residual else "NULL"
    call = (
        f"hk_f32_region_conv(x0, x1, x2, x3, x4, {', '.join(names)}, y,",
        f"    {struct('hk_regions', **sizes, **more)},",
        f"    {patterns_struct(how.patterns, op.window, tile)},",
        f"    {limits(op.clamp)}, {across}, {math.prod(op.made.grid)}, share);",
    )
    computed = found.values.size / weights.size
    form = (
        f"list {filters}x1 of regions" if how.patterns is None else f"kernels of {len(how.patterns.ways)} patterns over regions"
    )
    return Lowered("hk_f32_region_conv", given, call, "f32_region_conv.h", form, computed)


class Slabbed(NamedTuple):
    lists: BlockList
    slabs: int


def _slabbed(op: RegionConv, weights: Array, filters: int, vectors: Vectors) -> Slabbed:
    """Lists [slab, block of outputs] of single weights; entries of a list are in the order of their channels."""
    kh, kw, channels, _ = weights.shape
    blocks = by_block(weights.transpose(2, 0, 1, 3), 1, filters)[0]
    kept = np.count_nonzero(blocks.any(-1)) / len(blocks)
    count = 1 if filters >= SHARED else slabs(channels, _window_bytes(op, filters, vectors), float(kept))
    within = _places(op).reshape(kh * kw)
    parts = []
    for number in np.array_split(np.arange(channels), count):
        places = number[:, None] * op.given.elements + within
        parts.append(encoded(blocks[:, number].reshape(len(blocks), -1, filters), places.ravel()))
    return Slabbed(joined(parts), count)


def _tile(op: RegionConv, patterns: Patterns, vectors: Vectors) -> tuple[int, int]:
    parts = op.made.lanes // vectors.lanes
    return best_tile(op.made.size, op.window, patterns.taps, Registers(vectors.sums, patterns.taps, parts, parts))


def _by_pattern(op: RegionConv, weights: Array, patterns: Patterns, tile: tuple[int, int]) -> Slabbed:
    """Lists [slab, output, pattern] of kernels."""
    channels, outputs = weights.shape[2:]
    packed = by_pattern(by_block(weights, 1, 1)[0], patterns)
    products = np.count_nonzero(weights.any((0, 1))) / outputs * patterns.taps * math.prod(tile)
    count = pattern_slabs(channels, math.prod(reads(op.window, tile)) * op.given.lanes * 4, products)
    first = np.arange(channels) * op.given.elements + _places(op)[0, 0]
    parts = [encoded(packed[:, number], first[number]) for number in np.array_split(np.arange(channels), count)]
    return Slabbed(joined(parts), count)


def _places(op: RegionConv) -> Array:
    """[kh, kw]: how many floats of a channel lie before each place of a region's first window."""
    top, left, *_ = op.window.pads
    columns, lanes = op.given.vectors[1], op.given.lanes
    first = ((BORDER - top) * columns + BORDER - left) * lanes
    return entry_places(op.window, columns, lanes, lanes).reshape(op.window.kernel) + first


def _window_bytes(op: RegionConv, filters: int, vectors: Vectors) -> int:
    """Of one channel, what a tile reads."""
    room = vectors.sums if filters == 1 or vectors.by_lane else vectors.sums // 12 * 12  # hk_region_vectors
    tile = Places(*op.made.size).tile(max(1, room // (op.made.lanes // vectors.lanes) // filters))
    return math.prod(reads(op.window, tile)) * op.made.lanes * 4
