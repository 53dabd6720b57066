"""Kernels that keep their weights in few ways: which those are, how they are listed, and the tiles they run in."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.compiler.operators import Window
from harness.compiler.patterns import Patterns, Registers, best_tile, by_pattern, kernel_bits, patterns_of, reads

THREE = Window((3, 3))


def test_patterns_are_what_no_kernel_keeps_more_than() -> None:
    mask = np.zeros((2, 2, 1, 5), bool)
    for output, kept in enumerate(([0, 1, 2], [0, 2], [3], [1, 3], [])):
        mask.reshape(4, 5)[kept, output] = True
    found = patterns_of(mask)
    assert found == Patterns((0b0111, 0b1010), (2, 2)) and found.taps == 3
    assert patterns_of(mask[:1, :1]) is None  # windows of one place have none
    assert patterns_of(np.zeros((3, 3, 4, 4), bool)) is None  # nothing is left
    assert patterns_of(np.random.default_rng(0).random((3, 3, 64, 64)) < 0.2) is None  # too many ways


def test_every_kernel_lies_under_one_pattern_and_nothing_is_lost() -> None:
    rng = np.random.default_rng(0)
    ways = rng.random((4, 3, 3)) < 0.5
    kept = ways[rng.integers(0, 4, (5, 6))].transpose(0, 2, 3, 1)[..., None] & (rng.random((5, 3, 3, 6, 1)) < 0.8)
    blocks = rng.standard_normal((5, 3, 3, 6, 2)) * kept  # [blocks, kh, kw, channels, width]
    patterns = patterns_of(kept[..., 0].transpose(1, 2, 3, 0))
    assert patterns is not None
    packed = by_pattern(blocks, patterns).reshape(5, len(patterns.ways), 6, patterns.taps, 2)
    assert ((packed != 0).any((3, 4)).sum(1) <= 1).all()
    again = np.zeros_like(blocks)
    for number, way in enumerate(patterns.ways):
        places = [bit for bit in range(9) if way >> bit & 1]
        for tap, place in enumerate(places):
            again[:, place // 3, place % 3] += packed[:, number, :, tap]
    np.testing.assert_array_equal(again, blocks)


def test_bits_are_numbered_by_rows_and_columns() -> None:
    mask = np.zeros((2, 3, 1, 1), bool)
    mask[1, 2] = mask[0, 1] = True
    assert kernel_bits(mask).item() == 1 << 5 | 1 << 1


@pytest.mark.parametrize("window", [THREE, Window((3, 3), (2, 2)), Window((2, 3), dilations=(2, 1))])
def test_a_tile_fits_the_registers_and_the_cache_and_is_compact(window: Window) -> None:
    rows, columns = best_tile((14, 14), window, 4, Registers(28, 4, 1, 1))
    assert rows * columns <= 24 and min(rows, columns) >= 3
    assert math.prod(best_tile((14, 14), window, 9, Registers(28, 9, 1, 1))) <= 19
    assert math.prod(best_tile((14, 14), window, 9, Registers(28, 36, 4, 1))) <= 28 // 2 // 4
    assert math.prod(reads(window, best_tile((14, 14), window, 9, Registers(28, 9, 1, 1, 30)))) <= 30
    assert best_tile((14, 14), window, 9, Registers(28, 9, 1, 1, 2)) == (1, 1)  # no tile reads as little


def test_what_a_tile_reads() -> None:
    assert reads(THREE, (4, 5)) == (6, 7)
    assert reads(Window((2, 3), (2, 1), dilations=(3, 2)), (4, 5)) == (10, 9)
