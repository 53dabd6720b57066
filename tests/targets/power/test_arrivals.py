"""A clock of known offset and drift, seen by readings that arrive late: the truth lies within the interval that is told."""

from __future__ import annotations

import numpy as np
import pytest

from targets.power.arrivals import joined, offset_of_arrivals
from targets.power.trace import Offset


def ours(offset: Offset, meter_s: float) -> float:
    return meter_s + offset.seconds + offset.drift * (meter_s - offset.at_s)


@pytest.mark.parametrize("seed", range(20))
def test_the_truth_is_within_the_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shift_s, drift = rng.uniform(-1e4, 1e4), rng.uniform(-1e-3, 1e-3)
    meter_s = np.sort(rng.uniform(0, rng.uniform(1, 60), rng.integers(50, 3000)))
    arrived_s = np.maximum.accumulate(meter_s * (1 + drift) + shift_s + rng.exponential(rng.uniform(1e-4, 0.02), len(meter_s)))
    found = offset_of_arrivals(meter_s, arrived_s)
    middle_s = meter_s[
        len(meter_s) // 10 : -len(meter_s) // 10
    ]  # a line between two points tells little of what lies beyond them
    assert max(abs(ours(found, s) - s * (1 + drift) - shift_s) for s in middle_s) <= found.uncertainty_s


def test_no_reading_arrives_before_it_was_taken() -> None:
    rng = np.random.default_rng(1)
    meter_s = np.linspace(0, 10, 500)
    arrived_s = meter_s + 3 + rng.exponential(0.1, 500)
    found = offset_of_arrivals(meter_s, arrived_s)
    assert min(a - ours(found, m) for m, a in zip(meter_s, arrived_s, strict=True)) >= -1e-9


def test_where_all_is_late_from_some_moment_on_the_clocks_are_less_well_known() -> None:
    meter_s = np.linspace(0, 10, 1000)
    steady = offset_of_arrivals(meter_s, meter_s)
    lost = offset_of_arrivals(meter_s, meter_s + 0.25 * (meter_s > 6))
    assert steady.uncertainty_s < 0.002 and lost.uncertainty_s > 0.1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_readings_are_enough(count: int) -> None:
    meter_s = np.arange(count, dtype=np.float64)
    found = offset_of_arrivals(meter_s, meter_s * 1.001 + 7)
    assert all(np.isclose(ours(found, s), s * 1.001 + 7) for s in meter_s)


def test_two_offsets_are_one_after_the_other() -> None:
    first, second = Offset(5.0, 0.01, 1e-4, 3.0), Offset(-2.0, 0.02, -3e-4, 40.0)
    both = joined(first, second)
    assert both is not None and both.uncertainty_s == pytest.approx(0.03)
    for at_s in (0.0, 3.0, 50.0):
        assert ours(both, at_s) == pytest.approx(ours(second, ours(first, at_s)), abs=1e-12)
    assert joined(None, second) is second and joined(first, None) is first and joined(None, None) is None
