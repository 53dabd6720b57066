"""Changes of level against simulated truth, a slow rank sum, and hand-made series. Seeds are fixed; no rate depends on the machine."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from results import changes
from results.changes import ALPHA, LONGEST, MINIMUM_CHANGE, SHORTEST, detect

NIGHTS = 30
Logs = npt.NDArray[np.float64]


def _nights(rng: np.random.Generator, spread: float, levels: list[float]) -> Logs:
    """Log medians of as many nights as there are levels."""
    return np.log(levels) + rng.normal(0, spread, len(levels))


def _slow_largest_score(values: list[float]) -> float:
    """All stretches by three loops, straight from the definition."""
    ranks, n = rankdata(values), len(values)
    largest = 0.0
    for start in range(n):
        for stop in range(start + 1, n + 1):
            pieces = (stop - start, start, n - stop)
            size = stop - start
            if size == n or any(0 < piece < SHORTEST for piece in pieces) or n - size < SHORTEST:
                continue
            total = sum(ranks[i] for i in range(start, stop))
            deviation = math.sqrt(size * (n - size) * (n + 1) / 12)
            largest = max(largest, abs(total - size * (n + 1) / 2) / deviation)
    return largest


@given(st.lists(st.floats(0.1, 10), min_size=2 * SHORTEST, max_size=12))
def test_scores_equal_the_slow_rank_sums(values: list[float]) -> None:
    ranks = rankdata(values).astype(np.float32)[None]
    found = changes._scores(ranks, changes._stretches(len(values))).max()
    assert found == pytest.approx(_slow_largest_score(values), abs=1e-4)


def test_p_is_exact_where_all_orders_can_be_tried() -> None:
    n = 7
    order = [float(v) for v in (1, 2, 3, 4, 5, 6, 7)]
    observed = _slow_largest_score(order)
    all_scores = [_slow_largest_score(list(p)) for p in itertools.permutations(order)]
    exact = sum(score >= observed - 1e-9 for score in all_scores) / math.factorial(n)
    assert detect(order).p_value == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("noise", ["normal", "heavy", "skewed", "outliers"])
def test_a_series_without_a_change_alarms_in_at_most_5_percent(noise: str) -> None:
    rng = np.random.default_rng(3)

    def series() -> Logs:
        if noise == "heavy":
            return 0.03 * rng.standard_t(2, NIGHTS)
        if noise == "skewed":
            return 0.05 * rng.lognormal(0, 1, NIGHTS)
        odd = (rng.random(NIGHTS) < 0.1) * 0.5 if noise == "outliers" else 0.0
        return rng.normal(0, 0.05, NIGHTS) + odd

    n = 3000
    found = [detect(np.exp(series()).tolist(), minimum=0.0) for _ in range(n)]
    bound = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / n)
    assert 0.5 * ALPHA < sum(d.p_value is not None and d.p_value <= ALPHA for d in found) / n < bound
    assert sum(bool(d.changes) for d in found) / n < bound


def test_small_noise_stays_below_the_minimum_change() -> None:
    rng = np.random.default_rng(4)
    alarms = [bool(detect(np.exp(rng.normal(0, 0.005, NIGHTS)).tolist()).changes) for _ in range(1000)]
    assert sum(alarms) <= 2


@pytest.mark.parametrize(("spread", "power"), [(0.005, 0.99), (0.01, 0.99), (0.02, 0.95), (0.03, 0.8)])
def test_a_step_of_5_percent_in_the_middle_of_30_nights_is_found(spread: float, power: float) -> None:
    rng = np.random.default_rng(5)
    levels = [1.0] * 15 + [1.05] * 15
    found = [detect(np.exp(_nights(rng, spread, levels)).tolist()).changes for _ in range(300)]
    assert sum(bool(f) for f in found) / 300 >= power
    if spread <= 0.01:
        assert sum(abs(change.at - 15) <= 1 for (change, *_) in found) / 300 > 0.97
        inside = [
            change.low is not None and change.high is not None and change.low <= 1.05 <= change.high for (change, *_) in found
        ]
        assert sum(inside) / 300 > 0.88


def test_a_step_is_found_four_nights_after_it() -> None:
    rng = np.random.default_rng(6)
    levels = [1.0] * (NIGHTS - 4) + [1.05] * 4
    found = [detect(np.exp(_nights(rng, 0.01, levels)).tolist()).changes for _ in range(200)]
    assert sum(len(f) == 1 and f[0].at == NIGHTS - 4 for f in found) / 200 > 0.9


def test_a_bump_that_was_mended_is_two_changes() -> None:
    rng = np.random.default_rng(7)
    levels = [1.0] * 10 + [1.1] * 8 + [1.0] * 12
    found = [detect(np.exp(_nights(rng, 0.01, levels)).tolist()).changes for _ in range(100)]
    assert sum([change.at for change in f] == [10, 18] for f in found) > 90
    assert all(f[0].ratio == pytest.approx(1.1, abs=0.04) and f[-1].ratio == pytest.approx(1 / 1.1, abs=0.04) for f in found)


def test_one_odd_night_raises_no_alarm_and_hides_no_step() -> None:
    rng = np.random.default_rng(8)
    for odd in range(NIGHTS):
        quiet = _nights(rng, 0.005, [1.0] * NIGHTS)
        quiet[odd] += 1.0
        assert not detect(np.exp(quiet).tolist()).changes
        step = _nights(rng, 0.005, [1.0] * 15 + [1.05] * 15)
        step[odd] += 1.0
        assert any(abs(change.at - 15) <= 1 for change in detect(np.exp(step).tolist()).changes)


def test_a_step_below_the_minimum_is_no_change_though_its_p_is_small() -> None:
    values = [1.0 + 1e-4 * (k % 3) for k in range(15)] + [1.0 + MINIMUM_CHANGE / 2 + 1e-4 * (k % 3) for k in range(15)]
    found = detect(values)
    assert found.p_value is not None and found.p_value < 0.001
    assert not found.changes
    assert [change.at for change in detect(values, minimum=0.005).changes] == [15]


def test_ratio_and_interval_of_a_hand_made_step() -> None:
    (change,) = detect([1.0] * 6 + [2.0] * 6).changes
    assert change.at == 6
    assert [change.ratio, change.low, change.high] == pytest.approx([2.0] * 3)


def test_equal_nights_have_no_change() -> None:
    assert detect([4.0] * 20) == (1.0, ())


def test_few_nights_are_not_asked() -> None:
    assert detect([]) == (None, ())
    assert detect([1.0, 1.0, 1.0, 9.0, 9.0]) == (None, ())
    assert not detect([1.0, 1.0, 1.0, 9.0, 9.0, 9.0]).changes, "six nights cannot reach 5 %"


@given(st.lists(st.floats(0.5, 2.0), min_size=0, max_size=40), st.floats(1e-9, 1e9))
def test_the_unit_does_not_matter_and_changes_are_ordered(values: list[float], unit: float) -> None:
    a, b = detect(values), detect([v * unit for v in values])
    ats = [change.at for change in a.changes]
    assert ats == sorted(set(ats)) and all(SHORTEST <= at <= len(values) - SHORTEST for at in ats)
    if len({math.log(v * unit) for v in values}) == len({math.log(v) for v in values}) == len(values):
        assert b.p_value == a.p_value or [*rankdata(values)] != [*rankdata([v * unit for v in values])]


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_what_has_no_ratio_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="has no ratio"):
        detect([1.0] * 10 + [bad])


def test_too_long_a_series_is_refused() -> None:
    with pytest.raises(ValueError, match=f"91 nights; give the newest {LONGEST}"):
        detect([1.0] * (LONGEST + 1))
