"""Kernels that keep their weights in few ways: found in a mask, and listed pattern after pattern for `harness/kernels/patterns.h`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.compiler.ir import Array
from harness.compiler.operators import Window

MOST_PATTERNS, MOST_TAPS = 16, 9
"""Of a layer, and weights of one: HK_MOST_PATTERNS and HK_MOST_TAPS. Each is code of its own."""
PER_ENTRY = 4
"""What else an entry takes, in multiply-adds of vectors: its place, and the loop."""


class Patterns(NamedTuple):
    ways: tuple[int, ...]
    """Bit i * kw + j of a way is the weight at row i and column j of a window; in ascending order."""
    shape: tuple[int, int]
    """Of a window."""

    @property
    def taps(self) -> int:
        """Weights of an entry: as many as the largest way has."""
        return max(map(int.bit_count, self.ways))


def patterns_of(mask: Array) -> Patterns | None:
    """In which ways the kernels of `mask` [kh, kw, channels, outputs] keep their weights, if in few: a way is all weights that some kernel
    keeps and no other keeps more than."""
    kh, kw = mask.shape[:2]
    if not 1 < kh * kw <= MOST_TAPS:
        return None
    ways = {int(way) for way in kernel_bits(mask).ravel()} - {0}
    largest = {way for way in ways if not any(way != other and way & other == way for other in ways)}
    return Patterns(tuple(sorted(largest)), (kh, kw)) if 0 < len(largest) <= MOST_PATTERNS else None


def kernel_bits(mask: Array) -> Array:
    """int64 [channels, outputs]: which weights each kernel of `mask` [kh, kw, channels, outputs] keeps."""
    bits = mask.reshape(-1, *mask.shape[2:]).astype(np.int64)
    return np.asarray(np.tensordot(1 << np.arange(len(bits)), bits, 1))


def by_pattern(blocks: Array, patterns: Patterns) -> Array:
    """blocks [blocks, kh, kw, channels, width] -> [blocks * patterns, channels, taps, width]: each kernel under the first pattern that has all
    its weights, and zeros under the others; a pattern of fewer than `taps` weights is filled up with zeros."""
    count, kh, kw, channels, width = blocks.shape
    bits = kernel_bits((blocks != 0).any(-1).transpose(1, 2, 3, 0)).T
    values = blocks.reshape(count, kh * kw, channels, width).swapaxes(1, 2)
    made = np.zeros((count, len(patterns.ways), channels, patterns.taps, width), blocks.dtype)
    is_left = bits != 0
    for number, way in enumerate(patterns.ways):
        is_its = is_left & (bits & ~way == 0)
        is_left &= ~is_its
        places = [bit for bit in range(kh * kw) if way >> bit & 1]
        made[:, number, :, : len(places)] = np.where(is_its[..., None, None], values[:, :, places], 0)
    return made.reshape(-1, channels, patterns.taps, width)


def reads(window: Window, tile: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of x that the windows of a tile's places cover."""
    rows, columns = (
        (t - 1) * s + d * (k - 1) + 1 for t, s, k, d in zip(tile, window.strides, window.kernel, window.dilations, strict=True)
    )
    return rows, columns


class Registers(NamedTuple):
    """What a tile is made of."""

    sums: int
    """Vectors for results, and for what else an entry keeps in registers."""
    kept: int
    """Vectors, or values, of an entry's weights."""
    parts: int
    """Vectors of a place's results."""
    loads: int
    """Vectors, or values, that are read of each place of x."""
    most_reads: float = math.inf
    """Places of x that the nearest cache keeps."""


def best_tile(places: Sequence[int], window: Window, taps: int, registers: Registers) -> tuple[int, int]:
    """Rows and columns for which an entry takes the fewest instructions that wait for the same units: multiply-adds, or loads."""
    rows, columns = places
    room = max(1, max(registers.sums // 2, registers.sums - registers.kept) // registers.parts)

    def cost(tile: tuple[int, int]) -> float:
        return sum(
            PER_ENTRY + max(taps * r * c * registers.parts, registers.kept + math.prod(reads(window, (r, c))) * registers.loads)
            for r in _cut(rows, tile[0])
            for c in _cut(columns, tile[1])
        )

    tiles = [(r, c) for r in range(1, min(rows, room) + 1) for c in range(1, min(columns, room // r) + 1)]
    return min((tile for tile in tiles if math.prod(reads(window, tile)) <= registers.most_reads), key=cost, default=(1, 1))


def _cut(whole: int, part: int) -> list[int]:
    return [part] * (whole // part) + [whole % part] * (whole % part > 0)
