from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler.choice import (
    ANY_VECTORS,
    COSTS,
    NEAR_BYTES,
    SLAB_BYTES,
    SLAB_ENTRIES,
    SLAB_PRODUCTS,
    Costs,
    Places,
    Vectors,
    best_list,
    best_region_list,
    is_by_tile,
    kept_entries,
    most_places,
    pattern_slabs,
    slabs,
)

Array = npt.NDArray[Any]
MOST = 28
NEON, AVX = Vectors(4, 28, by_lane=True), Vectors(8, 12)


def width_of(mask: Array, dtype: str, most: int, vectors: Vectors) -> int | None:
    """Of the blocks in which weights [entries, outputs] of one place are listed."""
    return best_list(mask[None, None], dtype, most, vectors).width


def kernels(mask: Array) -> Array:
    """[entries, outputs] as the weights of 3 x 3 windows."""
    return mask.reshape(3, 3, -1, mask.shape[1])


def blocks(density: float, width: int, entries: int = 1152, outputs: int = 128) -> Array:
    """[entries, outputs]: that part of all blocks of `width` outputs is kept."""
    return (np.random.default_rng(0).random((entries, outputs // width)) < density).repeat(width, 1)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_dense_weights_stay_dense_and_empty_blocks_are_skipped(dtype: str) -> None:
    assert width_of(blocks(1, 16), dtype, MOST, ANY_VECTORS) is None
    assert width_of(blocks(0.9, 16), dtype, MOST, ANY_VECTORS) is None  # below break-even
    assert width_of(blocks(0.5, 16), dtype, MOST, ANY_VECTORS) == 16


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_scattered_zeros_stay_dense(dtype: str) -> None:
    """At 90 % zeros, only a fifth of the blocks of 16 outputs is empty."""
    assert width_of(blocks(0.1, 1), dtype, MOST, ANY_VECTORS) is None
    assert width_of(blocks(0.01, 1), dtype, MOST, ANY_VECTORS) == 16


def test_narrow_blocks_pay_where_vectors_are_narrow() -> None:
    narrow = blocks(0.25, 4)
    assert width_of(narrow, "float32", MOST, NEON) == 4
    assert width_of(narrow, "float32", MOST, AVX) == 8
    assert width_of(blocks(0.25, 8), "float32", MOST, AVX) == 8
    assert width_of(narrow, "float32", MOST, ANY_VECTORS) == 16  # 68 % of the blocks of 16 have something
    assert width_of(blocks(0.5, 4), "float32", MOST, ANY_VECTORS) is None  # 94 %


@pytest.mark.parametrize("width", [4, 8, 16])
def test_kept_entries_are_counted_in_whole_and_in_last_blocks(width: int) -> None:
    mask = np.random.default_rng(0).random((7, 21)) < 0.2
    slow = sum(mask[row, start : start + width].any() for row in range(7) for start in range(0, 21, width))
    assert kept_entries(mask, width) == slow


@pytest.mark.parametrize(
    ("places", "most", "tiles"), [((7, 7), 28, 2), ((56, 56), 28, 112), ((1, 3136), 28, 112), ((8, 8), 28, 3), ((5, 3), 2, 10)]
)
def test_tiles_are_counted_as_the_kernels_walk(places: tuple[int, int], most: int, tiles: int) -> None:
    assert Places(*places).tiles(most) == tiles
    assert Places(*places, times=3).tiles(most) == 3 * tiles


def test_what_is_large_is_read_seldom() -> None:
    """Few weights and a large image: the image is walked through once. Many weights and a small image: each block's are read once."""
    assert is_by_tile(list_bytes=NEAR_BYTES, image_bytes=800_000, blocks=16, tiles=112)
    assert not is_by_tile(list_bytes=2_400_000, image_bytes=NEAR_BYTES, blocks=32, tiles=2)


def test_tiles_whose_places_share_lines_of_the_cache_are_small() -> None:
    assert most_places(64) >= most_places(512) >= 28
    assert most_places(2048) == 14 and most_places(8192) == 10
    mask = blocks(0.7, 16)
    assert width_of(mask, "float32", 28, ANY_VECTORS) == 16
    assert width_of(mask, "float32", 14, ANY_VECTORS) is None


def test_scattered_zeros_go_into_regions_singly_and_shared_ones_together() -> None:
    for shared in (1, 4):
        assert best_region_list(kernels(blocks(0.1, shared)), ANY_VECTORS).width == shared
    assert best_region_list(kernels(blocks(0.3, 2)), AVX).width == 2
    assert best_region_list(np.zeros((3, 3, 1, 5), bool), ANY_VECTORS).cost == 0


def test_kernels_that_keep_weights_in_few_ways_are_listed_whole() -> None:
    rng = np.random.default_rng(0)
    ways = (rng.random((8, 9)).argsort(1) < 4).reshape(8, 3, 3)
    mask = ways[rng.integers(0, 8, (32, 64))].transpose(2, 3, 0, 1)
    found = best_region_list(mask, ANY_VECTORS)
    bits = {sum(1 << int(place) for place in np.flatnonzero(way)) for way in ways}
    assert found.width == 1 and found.patterns is not None and set(found.patterns.ways) == bits
    assert found.cost == pytest.approx(COSTS["float32"].patterns * 4 * 32 * 64)
    mask[:, :, ::2] = False  # kernels that are dropped cost nothing
    assert best_region_list(mask, ANY_VECTORS).cost == pytest.approx(found.cost / 2)


def test_blocks_of_whole_kernels_are_listed_so_where_registers_are_many() -> None:
    kept = (np.random.default_rng(0).random((1, 1, 128, 8)) < 0.5).repeat(3, 0).repeat(3, 1).repeat(16, 3)
    whole = best_list(kept, "float32", MOST, ANY_VECTORS)
    assert whole.width == 16 and whole.patterns is not None and whole.patterns.ways == (0b111111111,)
    assert whole.cost == pytest.approx(COSTS["float32"].kernels * kept.sum())
    assert best_list(kept, "float32", MOST, AVX).patterns is None
    assert best_list(kept, "int8", MOST, ANY_VECTORS).patterns is None
    kept[np.random.default_rng(1).random(kept.shape[:3]) < 0.3] = False  # single places: more ways than 16
    assert best_list(kept, "float32", MOST, ANY_VECTORS)[::2] == (16, None)


def test_nothing_goes_into_regions_where_no_width_has_a_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COSTS, "float32", Costs(1, 1))
    assert best_region_list(kernels(blocks(0.1, 1)), ANY_VECTORS).width is None


def test_a_tile_is_as_even_as_the_kernels_make_it() -> None:
    assert Places(14, 14).tile(28) == (2, 14) and Places(7, 7).tile(28) == (4, 7) and Places(7, 7).tile(5) == (1, 4)


def test_slabs_are_cut_only_where_lists_stay_long() -> None:
    assert slabs(64, SLAB_BYTES // 8, 57.6) == 8
    assert slabs(64, SLAB_BYTES // 8, 8 * SLAB_ENTRIES - 1) == 1
    assert slabs(3, 64, 5) == 1
    assert pattern_slabs(64, SLAB_BYTES // 8, 8 * SLAB_PRODUCTS) == 8
    assert pattern_slabs(64, SLAB_BYTES // 8, 3 * SLAB_PRODUCTS + 1) == 3
    assert pattern_slabs(64, SLAB_BYTES // 8, 0) == 1
