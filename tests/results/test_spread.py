"""Spreads against textbook values and slow formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from results import spread


def test_a_mean_has_students_t_with_three_quarters_of_the_error() -> None:
    x = np.array([1.0, 2.0, 4.0])
    found = spread.spread_of_mean(x, 0.95)
    assert found.name == "Student's t, widened for skew"
    assert found.error == pytest.approx(np.std(x, ddof=1) / math.sqrt(3))
    assert (found.low, found.high) == pytest.approx(scipy_stats.t.interval(0.9625, 2))
    assert found.high > 4.30265  # the table's t(0.975, 2)


def test_equal_values_are_said_to_be_so() -> None:
    equal = spread.spread_of_mean(np.full(25, 5.0), 0.95)
    assert equal.error == 0 and equal.name == "all equal"


def test_differences_agree_with_scipys_t_tests() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 1, 7), rng.normal(0.8, 3, 7)
    mean = float(x.mean() - y.mean())
    paired, welch = spread.paired_difference(x, y, 0.95), spread.independent_difference(x, y[:5], 0.95)
    assert paired.p_value(mean, 0.0) == pytest.approx(scipy_stats.ttest_rel(x, y).pvalue)
    by_scipy = scipy_stats.ttest_ind(x, y[:5], equal_var=False)
    assert welch.p_value(float(x.mean() - y[:5].mean()), 0.0) == pytest.approx(by_scipy.pvalue)
    assert welch.freedom == pytest.approx(by_scipy.df)


def test_margin_makes_small_differences_none() -> None:
    found = spread.paired_difference(np.array([1.0, 1.1, 0.9]), np.zeros(3), 0.95)
    assert found.p_value(0.3, margin=0.3) == 1.0
    assert found.p_value(0.5, margin=0.3) > found.p_value(0.5, margin=0.0)
    assert found.p_value(-0.5, margin=0.3) == found.p_value(0.5, margin=0.3)


def test_exact_differences_are_certain() -> None:
    found = spread.paired_difference(np.full(3, 2.0), np.full(3, 1.0), 0.95)
    assert found.p_value(1.0, margin=0.005) == 0.0
    assert found.p_value(0.0, margin=0.005) == 1.0
