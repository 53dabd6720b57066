"""Blocks that are whole, spoiled, or full of gaps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from targets.power.blocks import means


def test_means_keep_the_sum_and_their_place() -> None:
    middle, found = means(np.arange(6), np.array([1.0, 2, 3, 4, 5, 9]), 3, least=3, most=math.inf)
    assert middle.tolist() == [1.5, 4.5] and found == pytest.approx([2.0, 6.0])


def test_a_block_of_too_few_samples_is_a_gap() -> None:
    index, values = np.array([0, 1, 2, 3, 6, 7, 8]), np.arange(7.0)
    assert means(index, values, 3, least=3, most=math.inf)[0].tolist() == [1.5, 7.5]
    middle, found = means(index, values, 3, least=1, most=math.inf)
    assert middle.tolist() == [1.5, 4.5, 7.5] and found.tolist() == [1.0, 3.0, 5.0]


def test_one_sample_at_the_end_of_the_range_spoils_its_block() -> None:
    assert means(np.arange(4), np.array([1.0, 5.0, 1.0, 1.0]), 2, least=2, most=5.0)[1].tolist() == [5.0, 1.0]
