"""Spreads against textbook values and slow formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from results import spread


def test_few_values_use_students_t() -> None:
    x = np.array([1.0, 2.0, 4.0])
    found = spread.spread_of_mean(x, 0.95, seed=0)
    assert found.name == "Student's t"
    assert found.error == pytest.approx(np.std(x, ddof=1) / math.sqrt(3))
    assert (found.low, found.high) == pytest.approx((-4.30265, 4.30265), abs=1e-5)  # the table's t(0.975, 2)


def test_bootstrap_quantiles_agree_with_resampling_by_hand() -> None:
    x = np.random.default_rng(3).exponential(1.0, 24)
    found = spread.spread_of_mean(x, 0.9, seed=0)
    rng = np.random.default_rng(99)
    drawn = []
    for _ in range(8000):
        resample = rng.choice(x, len(x))
        drawn.append((resample.mean() - x.mean()) / (resample.std(ddof=1) / math.sqrt(len(x))))
    assert found.name == "bootstrap-t over launches"
    # Two Monte-Carlo estimates of one quantile: each has a standard error of about 0.03.
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.05, 0.95]), abs=0.15)
    assert found.low < -found.high  # skewed to the right: the mean may lie farther above than below


def test_bootstrap_begins_at_20_values_and_gives_the_same_for_the_same_seed() -> None:
    x = np.random.default_rng(0).normal(size=20)
    assert spread.spread_of_mean(x[:19], 0.95, 0).name == "Student's t"
    assert spread.spread_of_mean(x, 0.95, 0) == spread.spread_of_mean(x, 0.95, 0)
    assert spread.spread_of_mean(x, 0.95, 0) != spread.spread_of_mean(x, 0.95, 1)


def test_values_that_are_all_but_equal_fall_back_to_t_by_name() -> None:
    nearly = np.array([*[5.0] * 24, 6.0])  # a third of the resamples miss the odd one and have no spread
    assert spread.spread_of_mean(nearly, 0.95, 0).name == "Student's t"
    equal = spread.spread_of_mean(np.full(25, 5.0), 0.95, 0)
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
