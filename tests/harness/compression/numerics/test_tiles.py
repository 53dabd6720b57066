from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from harness.compression.numerics.tiles import Tile, as_matrix, as_weight

pytestmark = pytest.mark.torch

SHAPES = st.sampled_from([(5, 7), (8, 4, 3, 3), (3, 5, 1, 1), (6, 2, 3), (1, 1, 2, 2)])
STEP = st.one_of(st.none(), st.integers(1, 6))


def tiles_of(values: torch.Tensor, tile: Tile) -> dict[tuple[int, int, int], list[float]]:
    """Each tile's values, weight by weight."""
    found: dict[tuple[int, int, int], list[float]] = {}
    flat = values.reshape(values.shape[0], values.shape[1], -1)
    steps = [step or size for step, size in zip(tile, flat.shape, strict=True)]
    for o in range(flat.shape[0]):
        for i in range(flat.shape[1]):
            for p in range(flat.shape[2]):
                found.setdefault((o // steps[0], i // steps[1], p // steps[2]), []).append(float(flat[o, i, p]))
    return found


@settings(deadline=None, max_examples=60)
@given(shape=SHAPES, steps=st.tuples(STEP, STEP, STEP))
def test_sums_means_and_sizes_are_those_of_three_loops(
    shape: tuple[int, ...], steps: tuple[int | None, int | None, int | None]
) -> None:
    tile, values = Tile(*steps), torch.arange(1.0, 1.0 + torch.Size(shape).numel(), dtype=torch.float64).view(shape)
    slow = tiles_of(values, tile)
    sums, means, sizes = tile.sums(values), tile.means(values), tile.sizes(values.shape)
    assert sums.numel() == len(slow)
    for place, inside in slow.items():
        assert float(sums[place]) == sum(inside)
        assert float(means[place]) == pytest.approx(sum(inside) / len(inside))
        assert int(sizes[place]) == len(inside)


@settings(deadline=None, max_examples=60)
@given(shape=SHAPES, steps=st.tuples(STEP, STEP, STEP))
def test_spread_gives_each_weight_its_tiles_value(
    shape: tuple[int, ...], steps: tuple[int | None, int | None, int | None]
) -> None:
    tile = Tile(*steps)
    size = torch.Size(shape)
    units = torch.arange(tile.sizes(size).numel()).view(tile.sizes(size).shape)
    for place, inside in tiles_of(tile.spread(units, size), tile).items():
        assert set(inside) == {float(units[place])}


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3, 2), (2, 1, 5)])
def test_the_matrix_has_places_first_and_channels_within(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape)
    matrix = as_matrix(weight)
    flat = weight.reshape(shape[0], shape[1], -1)
    for place in range(flat.shape[2]):
        for channel in range(shape[1]):
            assert torch.equal(matrix[:, place * shape[1] + channel], flat[:, channel, place])
    assert torch.equal(as_weight(matrix, weight.shape), weight)
