"""Statistics against numbers made by hand and the papers' own examples. Simulated truth is in test_stats_truth.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results import stats
from results.record import Measurement, Samples
from results.spread import Interval


def samples(*launches: list[float], warmup: int = 0, loops: int = 1000) -> Samples:
    value = np.array([v for values in launches for v in values])
    launch = np.array([i for i, values in enumerate(launches) for _ in values], np.uint16)
    timed = np.array([j >= warmup for values in launches for j in range(len(values))], np.bool_)
    return Samples(value, launch, timed, np.full(len(value), loops, np.uint32), np.full(len(value), np.nan))


def test_launch_medians_leave_warmup_out_and_any_order_in() -> None:
    found = stats.launch_medians(samples([9.0, 1.0, 3.0, 2.0], [9.0, 5.0, 4.0], warmup=1))
    assert found == {0: 2.0, 1: 4.5}
    mixed = Samples(
        np.array([4.0, 1.0, 6.0, 3.0]),
        np.array([1, 0, 1, 0], np.uint16),
        np.ones(4, np.bool_),
        np.ones(4, np.uint32),
        np.zeros(4),
    )
    assert stats.launch_medians(mixed) == {0: 2.0, 1: 5.0}


@given(st.lists(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=9), min_size=1, max_size=5))
def test_launch_medians_are_numpys(launches: list[list[float]]) -> None:
    found = stats.launch_medians(samples(*launches))
    assert list(found.values()) == pytest.approx([float(np.median(values)) for values in launches], rel=1e-15)


def test_median_interval_of_three_launches_is_the_textbooks() -> None:
    interval = stats.median_interval(samples([1.0], [2.0], [4.0]))
    half = 5.017591 * math.log(2) / math.sqrt(3)  # t(0.98125, 2); the logs are 0, ln 2, 2 ln 2, so their deviation is ln 2
    assert interval.estimate == pytest.approx(2.0)
    assert (interval.low, interval.high) == pytest.approx((2 * math.exp(-half), 2 * math.exp(half)), rel=1e-6)
    assert interval.level == 0.95 and interval.method == "geometric mean of 3 launch medians, Student's t, widened for skew"


def test_one_launch_has_no_interval_and_says_why() -> None:
    interval = stats.median_interval(samples([1.0, 5.0, 2.0]))
    assert interval == (2.0, None, None, 0.95, "median of one process launch: no interval without a second launch")


def test_values_that_are_not_positive_are_averaged_as_they_are() -> None:
    interval = stats.median_interval(samples([-1.0], [0.0], [4.0]))
    assert interval.estimate == 1.0 and interval.method.startswith("arithmetic mean of 3")
    assert interval.low is not None and interval.low < -1


def test_warmup_alone_is_an_error() -> None:
    with pytest.raises(ValueError, match="no timed sample"):
        stats.median_interval(samples([1.0, 2.0], warmup=2))


def test_paired_ratio_cancels_what_both_share() -> None:
    baseline = samples([2.0], [20.0], [200.0], [2000.0])
    candidate = samples([1.0], [10.1], [99.0], [1000.0])
    paired, independent = stats.ratio(baseline, candidate, paired=True), stats.ratio(baseline, candidate, paired=False)
    assert paired.estimate == pytest.approx(independent.estimate) == pytest.approx(2.0, rel=1e-2)
    assert paired.low is not None and independent.low is not None and independent.high is not None
    assert paired.low > 1.9 and independent.low < 1 < independent.high
    assert paired.p_value is not None and paired.p_value < 1e-4
    assert paired.paired and not independent.paired


def test_paired_ratio_uses_the_launches_that_both_have() -> None:
    baseline, candidate = samples([2.0], [4.0], [6.0]), samples([1.0], [2.0], [3.0, 3.0])
    only_two = Samples(*(getattr(candidate, name)[1:] for name in ("value", "launch", "timed", "loops", "start_s")))
    found = stats.ratio(baseline, only_two, paired=True)
    assert found.method.startswith("2 pairs of launches") and found.estimate == pytest.approx(2.0)


def test_ratio_of_one_launch_has_neither_interval_nor_p() -> None:
    found = stats.ratio(samples([2.0]), samples([1.0]), paired=True)
    assert found[:5] == (2.0, None, None, None, True) and "one process launch" in found.method


def test_ratio_without_positive_times_is_none_and_says_why() -> None:
    found = stats.ratio(samples([0.0], [1.0]), samples([1.0], [1.0]), paired=False)
    assert math.isnan(found.estimate) and found.p_value is None and "not positive" in found.method
    nothing = stats.ratio(samples([1.0], warmup=1), samples([1.0]), paired=False)
    assert math.isnan(nothing.estimate) and "no timed samples" in nothing.method


def test_cycle_exact_numbers_have_exact_ratios() -> None:
    found = stats.ratio(samples(*[[300.0]] * 3), samples(*[[100.0]] * 3), paired=True)
    assert (found.low, found.high) == pytest.approx((3.0, 3.0)) and found.p_value == 0.0
    assert stats.ratio(samples(*[[3.0]] * 3), samples(*[[3.0]] * 3), paired=True).p_value == 1.0


def test_wild_times_do_not_overflow() -> None:
    found = stats.ratio(samples([1e-300], [1e300]), samples([1.0], [1.0]), paired=False)
    assert found.high == math.inf and found.low == 0.0


def test_false_discovery_is_benjamini_hochbergs_own_example() -> None:
    """The 15 p-values of their 1995 paper, sec. 4.1: four are taken at 0.05."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    q = stats.false_discovery(p)
    assert sum(value <= 0.05 for value in q) == 4
    assert stats.false_discovery(p[::-1]) == q[::-1]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_false_discovery_is_the_step_up_rule(p: list[float]) -> None:
    q = stats.false_discovery(p)
    assert len(q) == len(p)
    for level in (0.01, 0.05, 0.3):
        ordered = sorted(p)
        passing = [i for i, value in enumerate(ordered, 1) if value <= i * level / len(p) * (1 - 1e-9)]
        taken = ordered[: max(passing, default=0)]
        assert sum(value <= level for value in q) >= len(taken)
        assert all(value <= level for value, was in zip(q, p, strict=True) if was in taken)


def test_false_discovery_refuses_what_is_no_probability() -> None:
    for wrong in (math.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match="p-values"):
            stats.false_discovery([0.5, wrong])


def test_percentile_pools_timed_samples_and_wants_enough_of_them() -> None:
    hundred = samples([99.0, *map(float, range(50))], [99.0, *map(float, range(50, 100))], warmup=1)
    assert stats.percentile(hundred, 99) == pytest.approx(98.01)
    assert stats.percentile(hundred, 99.9) is None
    assert stats.percentile(samples(list(map(float, range(1000)))), 99.9) is not None
    assert stats.percentile(samples([1.0] * 9), 90) is None and stats.percentile(samples([1.0] * 10), 90) == 1.0
    assert stats.percentile(samples([1.0]), 50) == 1.0
    assert stats.percentile(samples([1.0], warmup=1), 50) is None


def test_summary_takes_the_interval_that_fits() -> None:
    def of(unit: str, found: Samples | None, metric: str = "m") -> Interval | None:
        return stats.summary(Measurement(metric, unit, "measured", "by hand", found, None if found else "no sensor"))

    share = of("1", Samples.of([1.0, 0.0, 1.0]), "top1")
    size, time = of("B", Samples.of(4096.0)), of("s", samples([1.0], [2.0]))
    assert share is not None and "Wilson" in share.method and share.estimate == pytest.approx(2 / 3)
    assert size is not None and size.estimate == 4096 and size.low is None
    assert time is not None and time.estimate == pytest.approx(math.sqrt(2))
    assert of("J", None) is None and of("s", samples([1.0], warmup=1)) is None


QUIET = [1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 1.0, 1.01, 0.99, 1.0]


@pytest.mark.parametrize(
    ("launches", "loops", "flags"),
    [
        ([QUIET, QUIET], 1, ()),
        ([[v + (0.15 if i % 2 else -0.15) for i, v in enumerate(QUIET)]], 1, (stats.WIDE,)),
        ([QUIET * 10 + [1.6]], 1, (stats.FAR, stats.OUTLIERS)),
        ([QUIET * 3 + [1.2] * 4], 1, (stats.OUTLIERS, stats.TAILS)),
        ([[1.12, *QUIET * 3]] * 2, 1, (stats.SLOW_START,)),
        ([QUIET, [v * 1.1 for v in QUIET]], 1, (stats.DISAGREE,)),
        ([[v * 1e-6 for v in QUIET]], 999, (stats.SHORT,)),
        ([[v * 1e-6 for v in QUIET]], 1001, ()),
        ([[1.0] * 9 + [1.001]], 1, ()),
    ],
)
def test_unstable_flags(launches: list[list[float]], loops: int, flags: tuple[str, ...]) -> None:
    assert stats.unstable(samples(*launches, loops=loops)) == flags


def test_unstable_looks_at_timed_samples_only() -> None:
    assert stats.unstable(samples([50.0, *QUIET], warmup=1)) == ()
    assert stats.unstable(samples([1.0], warmup=1)) == ()
    assert stats.unstable(samples([1.0], loops=1)) == ()
