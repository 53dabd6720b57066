"""Which layers run as lists of what is not zero: those for which a model of the kernels' costs, fitted to measurements, says that it pays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from harness.compiler.ir import Array
from harness.compiler.lanelist import lane_entries
from harness.compiler.pack import BLOCK, in_blocks
from harness.compiler.patterns import Patterns, patterns_of

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
    by_lane: bool = False
    """Whether an instruction multiplies a vector by a lane of another, and none by what it reads, as on Arm."""

    def room(self, parts: int) -> int:
        """How many sums stay in registers beside `parts` vectors of weights and a value: hk_sums of `harness/kernels/vector.h`."""
        return min(self.sums, (self.sums + 3 - parts) // parts * parts) if self.by_lane else self.sums


ANY_VECTORS = Vectors()
"""A program for these runs with vectors of every width: 16 is a multiple of all."""


class Costs(NamedTuple):
    """Of a product in a list kernel, in what its dense kernel takes for one. `docs/performance.md` has the measurements; the fit's median
    error is 5 %. They were made with AVX-512 and, of float32, with AVX2; others are taken to behave like AVX-512. Arm's, of float32, are
    instructions that QEMU counted."""

    usual: float
    crowded: float
    """Where places share lines of the cache, so that tiles are small: see `most_places`."""
    regions: Mapping[int, float] = {}
    """Over images in regions, by how many neighbouring outputs share a list."""
    patterns: float = math.inf
    """There, where kernels keep their weights in few ways, which are constants."""
    kernels: float = math.inf
    """In lists of blocks whose kernels do."""
    narrow: Mapping[int, float] = {}
    """By the outputs of a block, where it is not `usual`."""
    moves: float = 1.0
    """What moving a value takes, of MOVE."""
    lanes: float = math.inf
    """Where each of 16 outputs takes its own of 16 channels: two instructions a vector, which share a unit."""


COSTS: Mapping[str, Costs] = {
    "float32": Costs(1.22, 1.6, {1: 1.75, 2: 1.3, 4: 1.25, 8: 1.25}, patterns=1.12, kernels=1.07, lanes=1.67),
    "float32 in 8 lanes": Costs(1.02, 1.02, {1: 1.45, 2: 1.25, 8: 1.35}, patterns=1.2),
    "float32 by lane in 28 sums": Costs(
        1.25, 1.6, {1: 1.4, 2: 1.2, 4: 1.08, 8: 1.08}, patterns=1.13, kernels=1.1, narrow={8: 1.4, 4: 1.78}, moves=0.2
    ),
    "float32 by lane in 12 sums": Costs(1.46, 1.6, {1: 1.3}, narrow={8: 1.68, 4: 1.35}, moves=0.2),
    "int8": Costs(1.21, 1.3),
}
LIST_PATTERNS = 4
"""Of such lists: a compiler takes seconds over each."""
KERNEL_SUMS = 24
"""Of a tile, at least, for such lists: a kernel's weights must stay in registers."""
MOVE = 50.0
"""What moving a value into regions or out of them takes, in products of the dense kernel."""
SLAB_BYTES = 44 << 10
"""Of a slab of input channels, what a tile of regions reads at most."""
SLAB_ENTRIES = 4
"""Of a list, in a slab at least: each slab reads and writes all results once more."""
SLAB_PRODUCTS = 700
"""Of vectors, in an output's kernels in a slab at least: besides, each pattern's loop ends where no branch predictor expects it."""


def costs_of(dtype: str, vectors: Vectors) -> Costs:
    own = f"by lane in {vectors.sums} sums" if vectors.by_lane else f"in {vectors.lanes} lanes"
    return COSTS.get(f"{dtype} {own}", COSTS[dtype])


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


class Best(NamedTuple):
    width: int | None
    """Outputs of a list's block; None: no lists."""
    cost: float
    """Of a place, in products of the dense kernel."""
    patterns: Patterns | None = None
    """None: lists are of single places of a window, not of kernels."""


def best_list(mask: Array, dtype: str, most: int, vectors: Vectors) -> Best:
    """For weights of which `mask` [kh, kw, entries, outputs] says where they are not zero, in tiles of at most `most` places."""
    costs, rows = costs_of(dtype, vectors), mask.reshape(-1, mask.shape[3])
    widths = [width for width in WIDTHS if width % vectors.lanes == 0]
    cost = {width: costs.crowded if most < vectors.sums else costs.narrow.get(width, costs.usual) for width in widths}
    found = [Best(width, cost[width] * width * kept_entries(rows, width)) for width in widths]
    if costs.kernels < math.inf and vectors.sums >= KERNEL_SUMS and math.prod(mask.shape[:2]) > 1:
        found += [Best(width, costs.kernels * products, patterns) for width, products, patterns in _kernels(mask, widths)]
    dense = len(rows) * BLOCK * math.ceil(rows.shape[1] / BLOCK)
    best = min(found, key=lambda each: each.cost)
    return best if best.cost <= MARGIN * dense else Best(None, dense)


def _kernels(mask: Array, widths: Iterable[int]) -> Iterator[tuple[int, int, Patterns]]:
    """Widths of blocks whose kernels keep their weights in few ways, with the products of a place."""
    for width in widths:
        blocks = np.asarray(in_blocks(mask, width).any(-1))
        patterns = patterns_of(blocks)
        if patterns is not None and len(patterns.ways) <= LIST_PATTERNS:
            yield width, width * patterns.taps * int(blocks.any((0, 1)).sum()), patterns


def lane_cost(mask: Array, vectors: Vectors) -> float:
    """Of a place, as lists in which each output has its own channels; only AVX-512 selects among 16 in one instruction."""
    if vectors.lanes != BLOCK or mask.shape[2] % BLOCK:
        return math.inf
    return COSTS["float32"].lanes * BLOCK * int(lane_entries(mask.reshape(-1, mask.shape[3])).sum())


def takes_lanes(mask: Array, best: Best, vectors: Vectors) -> bool:
    """Rather than the best lists of blocks, or the dense kernel."""
    return lane_cost(mask, vectors) <= MARGIN * best.cost


def best_region_list(mask: Array, vectors: Vectors) -> Best:
    """The same over images in regions, where a place is a lane, be it used or not; `width` is None where nothing can be listed there."""
    costs, rows = costs_of("float32", vectors), mask.reshape(-1, mask.shape[3])
    found = [Best(width, cost * width * kept_entries(rows, width)) for width, cost in costs.regions.items()]
    if costs.patterns < math.inf and (patterns := patterns_of(mask)):
        found.append(Best(1, costs.patterns * patterns.taps * int(mask.any((0, 1)).sum()), patterns))
    return min(found, key=lambda each: each.cost, default=Best(None, math.inf))


def slabs(channels: int, window_bytes: int, entries: float) -> int:
    """Into how many the input channels are cut where a tile reads so much of each, and lists have so many entries."""
    wanted = math.ceil(channels * window_bytes / SLAB_BYTES)
    return wanted if entries >= SLAB_ENTRIES * wanted else 1


def pattern_slabs(channels: int, window_bytes: int, products: float) -> int:
    """The same for kernels by their patterns, of which a tile computes so many products of vectors for an output."""
    return max(1, min(math.ceil(channels * window_bytes / SLAB_BYTES), channels, int(products / SLAB_PRODUCTS)))


def kept_entries(mask: Array, width: int) -> int:
    """Entries in all lists of blocks of `width` outputs."""
    return int(in_blocks(mask, width).any(-1).sum())


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
