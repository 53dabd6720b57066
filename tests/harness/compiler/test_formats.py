from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.compiler.formats import Bsr, Dense, Format, Grouped, Punched, Size
from harness.compiler.formats_reordered import Fkw
from harness.compiler.smallest import ANY

Array = npt.NDArray[Any]
BLOCKED = (Bsr(4, 1), Bsr(4, 3), Bsr(3, 1, whole_kernels=True), Punched(2, 3), Punched(8, 4))
EVERY: tuple[Format, ...] = (*ANY, *BLOCKED, Grouped(4, 4), Grouped(8, 8), Fkw())
SHAPES = st.tuples(st.integers(1, 9), st.sampled_from([1, 4, 9]), st.integers(1, 9))
WEIGHTS = SHAPES.flatmap(lambda shape: arrays(np.int8, shape, elements=st.sampled_from([0, 0, 0, 5, -128])))


def written_bits(packed: Any) -> int:
    return 8 * sum(len(array.tobytes()) for array in packed.indices)


@pytest.mark.parametrize("way", EVERY, ids=str)
@settings(max_examples=30)
@given(weights=WEIGHTS)
def test_what_is_decoded_is_what_was_encoded_and_takes_what_was_calculated(way: Format, weights: Array) -> None:
    packed = way.encode(weights)
    np.testing.assert_array_equal(way.decode(packed, weights.shape), weights)
    assert way.size(weights != 0) == Size(packed.values.size, written_bits(packed))


@pytest.mark.parametrize("way", EVERY, ids=str)
@pytest.mark.parametrize("fill", [0, 7])
def test_layers_of_nothing_and_full_layers(way: Format, fill: int) -> None:
    weights = np.full((5, 9, 8), fill, np.float32)
    packed = way.encode(weights)
    np.testing.assert_array_equal(way.decode(packed, weights.shape), weights)
    assert packed.values.dtype == np.float32


@given(arrays(np.int8, (4, 2, 16), elements=st.integers(-3, 3)))
def test_groups_are_kept_exactly_and_short_ones_are_filled_up(dense: Array) -> None:
    order = np.argsort(-np.abs(dense.reshape(4, 2, 4, 4)), -1, kind="stable").argsort(-1)
    weights = np.where(order < 2, dense.reshape(4, 2, 4, 4), 0).reshape(dense.shape)
    packed = Grouped(2, 4).encode(weights)
    np.testing.assert_array_equal(Grouped(2, 4).decode(packed, weights.shape), weights)
    assert (packed.values.size, written_bits(packed)) == (weights.size // 2, 2 * weights.size // 2)


def test_more_than_a_group_may_keep_is_an_error() -> None:
    with pytest.raises(ValueError, match="more than 2:4"):
        Grouped(2, 4).encode(np.ones((1, 1, 4), np.float32))


@pytest.mark.parametrize(
    ("kept", "of", "share"), [(2, 4, 0.625), (1, 4, 0.3125), (2, 8, 0.34375), (1, 8, 0.171875), (4, 16, 0.375), (1, 16, 0.09375)]
)
def test_groups_of_bytes_take_the_published_share_of_dense(kept: int, of: int, share: float) -> None:
    """Values of 8 bits with their places, against dense: STA's table of N:M (arXiv:2208.06118)."""
    mask = np.arange(64 * 64).reshape(64, 1, 64) % of < kept
    assert Grouped(kept, of).size(mask).bits(8) == share * Dense().size(mask).bits(8)


def blocks(outputs: int, inputs: int, seed: int = 1) -> Array:
    kept = np.random.default_rng(seed).random((64 // outputs, 9, 32 // inputs)) < 0.25
    return np.ones((64, 9, 32), np.float32) * kept.repeat(outputs, 0).repeat(inputs, 2)


def test_a_block_has_one_index_for_all_its_weights() -> None:
    assert Punched(8, 4).size(blocks(8, 4) != 0) == Size(int(blocks(8, 4).sum()), 9 * 8 * 8)  # 1/32 bit a weight
    kept = int(blocks(16, 1).sum()) // 16
    assert Bsr(16, 1).size(blocks(16, 1) != 0) == Size(16 * kept, 5 * 16 + kept * 16)
    kernels = np.zeros((32, 9, 8), np.float32)
    kernels[4:8, :, 3] = kernels[28:, :, 0] = 1
    assert Bsr(4, whole_kernels=True).size(kernels != 0) == Size(2 * 36, 9 * 8 + 2 * 8)
    assert str(Bsr(4, whole_kernels=True)) == "1x4" and str(Bsr()) == "CSR" and str(Punched()) == "bitmap"
