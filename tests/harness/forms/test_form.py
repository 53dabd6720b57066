from __future__ import annotations

import numpy as np
import pytest

from harness.compression import Quantization
from harness.errors import BuildError
from harness.forms.form import Source, batches, channels_first, channels_last, tensor_fact


def test_channels_last_moves_each_value_where_its_index_says() -> None:
    array = np.random.default_rng(0).standard_normal((2, 3, 4, 5), np.float32)
    moved = channels_last(array)
    assert moved.flags.c_contiguous
    for n, c, h, w in np.ndindex(*array.shape):
        assert moved[n, h, w, c] == array[n, c, h, w]
    assert np.array_equal(channels_first(moved), array)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2,)])
def test_other_ranks_keep_their_layout(shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, np.float32)
    assert channels_last(array) is array
    assert channels_first(array) is array


@pytest.mark.parametrize(("rows", "batch"), [(1, 1), (1, 4), (4, 4), (5, 4), (8, 4), (7, 3)])
def test_batches_are_full_and_hold_every_row_in_order(rows: int, batch: int) -> None:
    array = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    chunks = batches(array, batch)
    assert all(chunk.shape == (batch, 2) for chunk in chunks)
    whole = np.concatenate(chunks)
    assert np.array_equal(whole[:rows], array)
    assert all(np.array_equal(row, array[-1]) for row in whole[rows:])


def test_tensor_fact_is_plain_json() -> None:
    assert tensor_fact("x", np.array([1, 2]), "int8") == {"name": "x", "shape": [1, 2], "dtype": "int8"}


@pytest.mark.torch
@pytest.mark.parametrize("calibration", [None, np.zeros((0, 3), np.float32)])
def test_integers_without_calibration_are_refused(calibration: np.ndarray | None) -> None:
    import torch

    source = Source(torch.nn.Identity(), np.zeros((1, 3), np.float32), 1, Quantization(8, 8, True, 0, ""), calibration)
    with pytest.raises(BuildError, match="calibration inputs"):
        source.integers()


@pytest.mark.torch
def test_integers_of_another_width_are_refused() -> None:
    import torch

    source = Source(
        torch.nn.Identity(), np.zeros((1, 3), np.float32), 1, Quantization(4, 8, True, 1, ""), np.zeros((1, 3), np.float32)
    )
    with pytest.raises(ValueError, match="8-bit"):
        source.integers()
