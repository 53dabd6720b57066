"""Weights as lists in which each output of a block takes one of 16 neighbouring channels: the format of `harness/kernels/f32_lane_conv.h`.

For N:M pruning: of 16 channels every output keeps as many, but each its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harness.compiler.ir import Array
from harness.compiler.pack import BLOCK, by_block


class LaneList(NamedTuple):
    starts: Array
    """int32 [blocks + 1]: where the entries of each block of outputs begin; the last, where all end."""
    places: Array
    """int32 [kept]: where an entry's 16 channels lie."""
    chosen: Array
    """uint8 [kept, 16]: which of them each output takes."""
    values: Array
    """[kept, 16]: its weights, 0 where an output has none left."""

    @property
    def size_bytes(self) -> int:
        return sum(int(array.nbytes) for array in self)


def lane_entries(mask: Array) -> Array:
    """[blocks, groups]: how many entries it takes for weights [entries, outputs] that are non-zero where `mask` is, each 16 entries a group."""
    counts = by_block(mask, 1)[0].reshape(-1, len(mask) // BLOCK, BLOCK, BLOCK).sum(2)
    return np.asarray(counts.max(2))


def lanes_of(weights: Array, places: Array) -> LaneList:
    """[entries, outputs]; `places` [entries / 16] gives each group's place."""
    grouped = by_block(weights, 1)[0].reshape(-1, len(places), BLOCK, BLOCK)  # [blocks, groups, channels, outputs]
    kept = lane_entries(weights != 0)
    order = np.argsort(grouped == 0, 2, kind="stable").swapaxes(
        1, 2
    )  # [blocks, entries of a group, groups, outputs], the kept ones first
    values = np.take_along_axis(grouped.swapaxes(1, 2), order, 1)
    is_there = (np.arange(BLOCK)[:, None] < kept[:, None, :]).swapaxes(1, 2)  # [blocks, groups, entries of a group]
    starts = np.concatenate(([0], np.cumsum(kept.sum(1))))
    which = np.broadcast_to(places[:, None], is_there.shape)[is_there]
    return LaneList(
        starts.astype(np.int32),
        which.astype(np.int32),
        order.swapaxes(1, 2)[is_there].astype(np.uint8),
        values.swapaxes(1, 2)[is_there],
    )
