"""Which layers run as lists of what is not zero: those for which a model of the kernels' costs, fitted to measurements, says that it pays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from harness.compiler.ir import Array
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


ANY_VECTORS = Vectors()
"""A program for these runs with vectors of every width: 16 is a multiple of all."""


class Costs(NamedTuple):
    """Of a product in a list kernel, in what its dense kernel takes for one. `docs/performance.md` has the measurements; the fit's median
    error is 5 %. They were made with AVX-512: other vectors are taken to behave alike."""

    usual: float
    crowded: float
    """Where places share lines of the cache, so that tiles are small: see `most_places`."""


COSTS: Mapping[str, Costs] = {"float32": Costs(1.22, 1.6), "int8": Costs(1.21, 1.3)}


class Places(NamedTuple):
    """Of a layer's results."""

    rows: int
    columns: int
    times: int = 1
    """Batch."""

    def tiles(self, most: int) -> int:
        """How many cover them: HK_TILES of `harness/kernels/tiles.h`."""
        parts = math.ceil(self.columns / most)
        if parts > 1:
            return self.times * self.rows * parts
        rows = max(1, min(self.rows, most // self.columns))
        return self.times * math.ceil(self.rows / math.ceil(self.rows / math.ceil(self.rows / rows)))


def chosen_width(mask: Array, dtype: str, most: int, vectors: Vectors) -> int | None:
    """Outputs of a list's block for weights whose entries [entries, outputs] are non-zero where `mask` is; None: the dense kernel.

    Tiles have at most `most` places.
    """
    usual, crowded = COSTS[dtype]
    cost = usual if most >= vectors.sums else crowded
    computed = {width: width * kept_entries(mask, width) for width in WIDTHS if width % vectors.lanes == 0}
    best = min(computed, key=computed.__getitem__)
    dense = mask.shape[0] * BLOCK * math.ceil(mask.shape[1] / BLOCK)
    return best if cost * computed[best] <= MARGIN * dense else None


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
