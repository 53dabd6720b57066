"""Which layers run as lists of what is not zero: those for which a model of the kernels' costs, fitted to measurements, says that it pays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from harness.compiler.ir import Array
from harness.compiler.lanelist import lane_entries
from harness.compiler.pack import BLOCK

WIDTHS = (16, 8, 4)
"""Outputs of a list's block, where the target's vectors are not wider."""
MARGIN = 0.95
"""A list must be expected to take at most this part of the dense kernel's time: differences below are within what measurements scatter."""
NEAR_BYTES, MIDDLE_BYTES = 24 << 10, 512 << 10
"""Of the first and the second cache, what is left for one operand."""
SET_PERIOD = 4096
"""Bytes after which the sets of the first cache come again."""


class Vectors(NamedTuple):
    """Of a target, as `harness/kernels/vector.h` has them."""

    lanes: int = 16
    """Floats in one."""
    sums: int = 28
    """How many hold a tile's results."""
    can_look_up: bool = True
    """Whether an instruction selects floats by numbers: AVX has vectors of 8 without it, AVX2 with it."""


ANY_VECTORS = Vectors()
"""A program for these runs with vectors of every width: 16 is a multiple of all."""


class Costs(NamedTuple):
    """Of a product in a list kernel, in what its dense kernel takes for one. `docs/performance.md` has the measurements; the fit's median
    error is 5 %. They were made with AVX-512 and, of float32, with AVX2; other vectors are taken to behave like AVX-512, which has as many
    registers as NEON."""

    usual: float
    crowded: float
    """Where places share lines of the cache, so that tiles are small: see `most_places`."""
    regions: Mapping[int, float] = {}
    """Over images in regions, by how many neighbouring outputs share a list."""
    lanes: float = math.inf
    """Where each of 16 outputs takes its own of 16 channels: two instructions a vector, which share a unit."""


COSTS: Mapping[str, Costs] = {
    "float32": Costs(1.22, 1.6, {1: 1.75, 2: 1.3, 4: 1.25, 8: 1.25}, lanes=1.67),
    "float32 in 8 lanes": Costs(1.02, 1.02, {1: 1.45, 2: 1.25, 8: 1.35}),
    "int8": Costs(1.21, 1.3),
}
MOVE = 50.0
"""What moving a value into regions or out of them takes, in products of the dense kernel."""
SLAB_BYTES = 44 << 10
"""Of a slab of input channels, what a tile of regions reads at most."""
SLAB_ENTRIES = 4
"""Of a list, in a slab at least: each slab reads and writes all results once more."""


def costs_of(dtype: str, vectors: Vectors) -> Costs:
    return COSTS.get(f"{dtype} in {vectors.lanes} lanes", COSTS[dtype])


class Places(NamedTuple):
    """Of a layer's results."""

    rows: int
    columns: int
    times: int = 1
    """Batch."""

    def tile(self, most: int) -> tuple[int, int]:
        """Rows and columns of a tile of at most so many places: HK_TILES of `harness/kernels/tiles.h`."""
        columns = math.ceil(self.columns / math.ceil(self.columns / most))
        if columns < self.columns:
            return 1, columns
        most_rows = max(1, min(self.rows, most // self.columns))
        return math.ceil(self.rows / math.ceil(self.rows / most_rows)), columns

    def tiles(self, most: int) -> int:
        """How many cover them."""
        rows, columns = self.tile(most)
        return self.times * math.ceil(self.rows / rows) * math.ceil(self.columns / columns)


def chosen_width(mask: Array, dtype: str, most: int, vectors: Vectors) -> int | None:
    """Outputs of a list's block for weights whose entries [entries, outputs] are non-zero where `mask` is; None: the dense kernel.

    Tiles have at most `most` places.
    """
    return best_list(mask, dtype, most, vectors).width


class Best(NamedTuple):
    width: int | None
    """Outputs of a list's block; None: no lists."""
    cost: float
    """Of a place, in products of the dense kernel."""


def best_list(mask: Array, dtype: str, most: int, vectors: Vectors) -> Best:
    costs = costs_of(dtype, vectors)
    cost = costs.usual if most >= vectors.sums else costs.crowded
    computed = {width: width * kept_entries(mask, width) for width in WIDTHS if width % vectors.lanes == 0}
    best = min(computed, key=computed.__getitem__)
    dense = mask.shape[0] * BLOCK * math.ceil(mask.shape[1] / BLOCK)
    return Best(best, cost * computed[best]) if cost * computed[best] <= MARGIN * dense else Best(None, dense)


def lane_cost(mask: Array, channels: int, vectors: Vectors) -> float:
    """Of a place, as lists in which each output has its own channels; only AVX-512 selects among 16 in one instruction."""
    if vectors.lanes != BLOCK or channels % BLOCK:
        return math.inf
    return COSTS["float32"].lanes * BLOCK * int(lane_entries(mask).sum())


def takes_lanes(mask: Array, channels: int, most: int, vectors: Vectors) -> bool:
    """Rather than lists of blocks, or the dense kernel."""
    return lane_cost(mask, channels, vectors) <= MARGIN * best_list(mask, "float32", most, vectors).cost


def best_region_list(mask: Array, vectors: Vectors) -> Best:
    """Over images in regions; a place is then a lane, be it used or not."""
    regions = costs_of("float32", vectors).regions
    costs = {width: cost * width * kept_entries(mask, width) for width, cost in regions.items()}
    best = min(costs, key=costs.__getitem__, default=None)
    return Best(None, math.inf) if best is None else Best(best, costs[best])


def slabs(channels: int, window_bytes: int, entries: float) -> int:
    """Into how many the input channels are cut where a tile reads so much of each, and lists have so many entries."""
    wanted = math.ceil(channels * window_bytes / SLAB_BYTES)
    return wanted if entries >= SLAB_ENTRIES * wanted else 1


def kept_entries(mask: Array, width: int) -> int:
    """Entries in all lists of blocks of `width` outputs."""
    filled = np.pad(mask, ((0, 0), (0, -mask.shape[1] % width)))
    return int(filled.reshape(len(mask), -1, width).any(2).sum())


def most_places(stride_bytes: int) -> int:
    """Of a tile whose neighbouring places lie so far apart: as many as the nearest cache keeps a line of each, and of the weights.

    Lines 4096 bytes apart share one set of it: 28 places of 512 floats fall into two sets of 12 lines, and push each other out.
    """
    sets = SET_PERIOD // math.gcd(stride_bytes, SET_PERIOD)
    return max(10, 7 * sets)


def is_by_tile(list_bytes: int, image_bytes: int, blocks: int, tiles: int) -> bool:
    """Whether less is read from beyond the nearest cache if all blocks of a tile follow each other, and not all tiles of a block.

    What fits into the nearest cache is read once; lists that do not fit into the next come from farther away each time.
    """
    weights = 0 if list_bytes <= NEAR_BYTES else tiles * list_bytes * (1 if list_bytes <= MIDDLE_BYTES else 3)
    values = 0 if image_bytes <= NEAR_BYTES else blocks * image_bytes
    return weights < values
