"""The pace of long launches that were made up: a knee is where it was put, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from results.record import Samples
from results.sustained import WINDOWS, pace


def launch(latency_s: np.ndarray, seconds: float, warm: int = 0, noise: float = 0.02) -> Samples:
    """Samples evenly over the time, by a seeded noise."""
    n = len(latency_s)
    value = latency_s * np.exp(np.random.default_rng(n).normal(0, noise, n))
    timed = np.arange(n) >= warm
    return Samples(value, np.zeros(n, np.uint16), timed, np.ones(n, np.uint32), np.linspace(0, seconds, n))


def throttled(at_s: float, by: float, seconds: float = 1800.0, n: int = 6000) -> np.ndarray:
    return np.where(np.linspace(0, seconds, n) < at_s, 1e-3, 1e-3 * by)


@pytest.mark.parametrize("at_s", [300.0, 610.0, 1200.0])
def test_the_knee_of_half_an_hour_is_where_the_clock_fell(at_s: float) -> None:
    found = pace(launch(throttled(at_s, 1.3), 1800.0))
    assert found is not None and found.knee_s == pytest.approx(at_s, abs=1800 / WINDOWS)
    assert found.peak_s == pytest.approx(1e-3, rel=0.01) and found.sustained_s == pytest.approx(1.3e-3, rel=0.01)
    assert found.kept == pytest.approx(1 / 1.3, rel=0.01)


def test_a_device_that_keeps_its_pace_has_no_knee_and_a_moment_of_noise_makes_none() -> None:
    steady = np.full(6000, 1e-3)
    found = pace(launch(steady, 1800.0))
    assert found is not None and found.knee_s is None and found.kept == pytest.approx(1.0, abs=0.01)
    steady[3000:3030] *= 5
    again = pace(launch(steady, 1800.0))
    assert again is not None and again.knee_s is None and again.kept == pytest.approx(1.0, abs=0.01)


def test_a_device_that_falls_twice_has_the_first_knee_and_the_last_pace() -> None:
    latency = throttled(400.0, 1.2)
    latency[4000:] = 1.6e-3
    found = pace(launch(latency, 1800.0))
    assert (
        found is not None
        and found.knee_s == pytest.approx(400.0, abs=30)
        and found.sustained_s == pytest.approx(1.6e-3, rel=0.01)
    )


def test_becoming_faster_is_no_knee() -> None:
    found = pace(launch(throttled(600.0, 0.7), 1800.0))
    assert found is not None and found.knee_s is None and found.kept == pytest.approx(1.0, abs=0.01)


def test_warm_up_counts_for_nothing() -> None:
    latency = np.full(600, 1e-3)
    latency[:100] = 1e-4
    found = pace(launch(latency, 60.0, warm=100))
    assert (
        found is not None
        and found.peak_s == pytest.approx(1e-3, rel=0.02)
        and found.window_s == pytest.approx(50 / WINDOWS, rel=0.01)
    )


@pytest.mark.parametrize("count", [0, 1, 5, 11])
def test_too_few_samples_have_no_pace(count: int) -> None:
    assert pace(launch(np.full(count, 1e-3), 1.0)) is None


def test_few_long_samples_make_fewer_windows() -> None:
    found = pace(launch(np.full(30, 1e-3), 30.0))
    assert found is not None and found.window_s == pytest.approx(2.0)


def test_samples_without_a_clock_have_no_pace() -> None:
    assert pace(Samples.of(np.full(100, 1e-3))) is None
