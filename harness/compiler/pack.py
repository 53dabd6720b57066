"""Weights in the order in which the kernels read them."""

from __future__ import annotations

import numpy as np

from harness.compiler.ir import Array

BLOCK = 16
"""Outputs that a kernel computes together: HK_BLOCK of `harness/kernels/vector.h`."""


def by_block(array: Array, groups: int, block: int = BLOCK) -> Array:
    """[..., outputs] -> [groups, blocks, ..., block]: each group's outputs filled up with zeros to whole blocks."""
    grouped = array.reshape(*array.shape[:-1], groups, array.shape[-1] // groups)
    return np.ascontiguousarray(np.moveaxis(in_blocks(grouped, block), (-3, -2), (0, 1)))


def in_blocks(array: Array, width: int) -> Array:
    """[..., outputs] -> [..., blocks, width], filled up with zeros."""
    filled = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, -array.shape[-1] % width)])
    return filled.reshape(*array.shape[:-1], -1, width)


def bytes_by_four(weights: Array, groups: int, block: int = BLOCK, *, is_whole: bool) -> Array:
    """int8 [kh, kw, c, outputs] -> [groups, blocks, kh, runs, fours, block, 4]: runs of values that neighbour each other in the image, of
    a whole kernel row or of one place, filled up with zeros to multiples of 4."""
    kh, kw, channels, outputs = weights.shape
    runs, run = (1, kw * channels) if is_whole else (kw, channels)
    filled = np.pad(weights.reshape(kh, runs, run, outputs), ((0, 0), (0, 0), (0, -run % 4), (0, 0)))
    fours = filled.reshape(kh, runs, -1, 4, outputs)
    return np.ascontiguousarray(np.swapaxes(by_block(fours, groups, block), -1, -2))
