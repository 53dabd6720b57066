"""Streams whose energy is known: drift, gaps, wraps, jitter, clipping, lost samples, clocks that part. The interval holds, and nothing is a silent 0."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest

from targets.power.integrate import Energy, Idle, Invalid, energy, idle_power, power
from targets.power.trace import Channel, Offset, Trace


def trace(time_s: Any, values: Any, unit: Any = "W", **changes: Any) -> Trace:
    table = np.asarray(values, np.float64)
    table = table[:, None] if table.ndim == 1 else table
    units = unit if isinstance(unit, tuple) else (unit,) * table.shape[1]
    channels = tuple(Channel(f"rail{index}", unit_) for index, unit_ in enumerate(units))
    fields = {"rate_hz": None, "range_w": None} | changes
    return Trace("made_up", "T3", "measured", "CLOCK_MONOTONIC", np.asarray(time_s, np.float64), table, channels, **fields)


def valid(found: Energy | Invalid) -> Energy:
    assert isinstance(found, Energy), found
    return found


def invalid(found: Energy | Invalid) -> Invalid:
    assert isinstance(found, Invalid), found
    return found


TIME_S = np.arange(0, 30.001, 0.1)


def test_constant_power_is_power_times_time() -> None:
    found = valid(energy(trace(TIME_S, np.full(len(TIME_S), 3.0)), 5.03, 20.07, idle=Idle(1.0, 0.1)))
    assert [found.joules, found.average_w, found.peak_w] == pytest.approx([3 * 15.04, 3.0, 3.0]) and found.flags == ()
    assert [found.net_joules, found.seconds] == pytest.approx([2 * 15.04, 15.04])
    assert found.uncertainty_j < 1e-9 and found.net_uncertainty_j == pytest.approx(1.504)


def test_a_ramp_is_exact_by_trapezoid_and_by_counter() -> None:
    """P = t, so E = t^2 / 2."""
    truth = (20.05**2 - 5.02**2) / 2
    assert valid(energy(trace(TIME_S, TIME_S), 5.02, 20.05)).joules == pytest.approx(truth, abs=1e-9)
    assert valid(energy(trace(TIME_S, TIME_S**2 / 2, "J"), 5.02, 20.05)).joules == pytest.approx(truth, rel=1e-4)


def test_channels_are_added_and_the_sensors_own_part_is_declared() -> None:
    both = trace(TIME_S, np.stack([np.full(len(TIME_S), 2.0), 5 * TIME_S], axis=1), ("W", "J"), relative_uncertainty=0.02)
    found = valid(energy(both, 5.0, 20.0))
    assert [found.joules, found.peak_w] == pytest.approx([7 * 15, 7.0])
    assert found.uncertainty_j == pytest.approx(0.02 * 7 * 15, rel=0.01)
    time_s, watts = power(both)
    assert len(time_s) == len(TIME_S) - 1 and watts == pytest.approx(7.0)


def test_what_is_told_beside_a_counter_is_its_peak_where_it_lies_in_the_window() -> None:
    told = np.array([[5.5, 9.0], [7.0, 4.0], [21.0, 50.0]])
    counter = trace(TIME_S - 1000, 3 * TIME_S, "J", peaks=told - [1000, 0], offset=Offset(1000.0, 0.01))
    assert [valid(energy(counter, begin_s, 20.0)).peak_w for begin_s in (5.0, 6.0, 8.0)] == pytest.approx([9.0, 4.0, 3.0])
    assert valid(energy(counter, 5.0, 20.0)).joules == pytest.approx(45.0), "it adds no energy"


def test_an_offset_moves_the_window() -> None:
    moved = trace(TIME_S - 1000, TIME_S, offset=Offset(1000.0, 0.01))
    found = valid(energy(moved, 5.0, 20.0))
    assert found.joules == pytest.approx((20**2 - 5**2) / 2, abs=1e-6)
    assert found.uncertainty_j == pytest.approx(math.hypot(0.01 * 5, 0.01 * 20, 30 * 0.1 / 4, 30 * 0.1 / 4), rel=0.01)


def test_lost_sync_is_invalid_and_says_so() -> None:
    for uncertainty_s in (0.2, math.inf, math.nan):
        lost = invalid(energy(trace(TIME_S, TIME_S, offset=Offset(0.0, uncertainty_s)), 5.0, 20.0))
        assert lost.flags == ("sync",) and "clocks" in lost.reason
    assert invalid(energy(trace(TIME_S, TIME_S), 5.0, 20.0, edge_s=0.2)).flags == ("sync",)


def test_a_gap_is_flagged_and_too_long_a_one_is_invalid() -> None:
    watts = 5 + np.sin(TIME_S)
    small = (TIME_S < 10) | (TIME_S > 10.5)
    found = valid(energy(trace(TIME_S[small], watts[small]), 5.0, 20.0))
    assert found.flags == ("gap",) and found.uncertainty_j > 0.9
    large = (TIME_S < 8) | (TIME_S > 14)
    assert invalid(energy(trace(TIME_S[large], watts[large]), 5.0, 20.0)).flags == ("gap",)
    counted = valid(energy(trace(TIME_S[large], 5 * TIME_S[large], "J"), 5.0, 20.0))
    assert counted.flags == ("gap",) and counted.joules == pytest.approx(75.0), "a counter misses nothing in a gap"


@pytest.mark.parametrize("window", [(-1.0, 20.0), (5.0, 31.0), (40.0, 60.0)], ids=["before", "after", "elsewhere"])
def test_a_window_that_was_not_read_is_invalid(window: tuple[float, float]) -> None:
    for unit in ("W", "J"):
        assert "whole window" in invalid(energy(trace(TIME_S, TIME_S, unit), *window)).reason
    assert "whole window" in invalid(energy(trace([], np.empty((0, 1))), 5.0, 20.0)).reason


def test_clipping_is_flagged_and_much_of_it_is_invalid() -> None:
    watts = np.full(30001, 5.0)
    time_s = np.linspace(0, 30, len(watts))
    assert valid(energy(trace(time_s, watts, range_w=(0.0, 10.0)), 5.0, 20.0)).flags == ()
    watts[10_000:10_010] = 10.0
    found = valid(energy(trace(time_s, watts, range_w=(0.0, 10.0)), 5.0, 20.0))
    assert found.flags == ("clipped",) and found.uncertainty_j > 0.05
    watts[10_000:10_100] = 10.0
    assert invalid(energy(trace(time_s, watts, range_w=(0.0, 10.0)), 5.0, 20.0)).flags == ("clipped",)


def test_lost_samples_are_flagged_and_cost_certainty() -> None:
    watts = 5 + np.sin(TIME_S)
    found = valid(energy(trace(TIME_S, watts, dropped=3), 5.0, 20.0))
    assert found.flags == ("drops",)
    assert found.uncertainty_j > valid(energy(trace(TIME_S, watts), 5.0, 20.0)).uncertainty_j
    assert invalid(energy(trace(TIME_S, watts, dropped=100), 5.0, 20.0)).flags == ("drops",)


def test_few_readings_and_short_windows_are_flagged() -> None:
    slow = trace(np.arange(0, 30, 2.0), np.full(15, 3.0))
    assert valid(energy(slow, 5.0, 20.0)).flags == ("few_samples",)
    assert valid(energy(trace(TIME_S, np.full(len(TIME_S), 3.0)), 5.0, 14.9)).flags == ("short",)
    assert "readings" in invalid(energy(trace(np.arange(0, 31, 10.0), np.full(4, 3.0)), 5.0, 20.0)).reason


def test_what_the_meter_doubts_is_passed_on() -> None:
    doubted = trace(TIME_S, np.full(len(TIME_S), 3.0), flags=("cross_check",))
    assert valid(energy(doubted, 5.0, 20.0)).flags == ("cross_check",)
    assert invalid(energy(doubted, 5.0, 40.0)).flags == ("cross_check", "gap")


@pytest.mark.parametrize("watts", [0.0, -2.0], ids=["nothing", "backwards"])
def test_a_sensor_that_tells_nothing_is_invalid_and_never_zero(watts: float) -> None:
    assert "wiring" in invalid(energy(trace(TIME_S, np.full(len(TIME_S), watts)), 5.0, 20.0)).reason
    assert "readings" in invalid(energy(trace(TIME_S, np.full(len(TIME_S), 7.0), "J"), 5.0, 20.0)).reason


def test_no_window_at_all_is_refused() -> None:
    for begin_s, end_s in ((5.0, 5.0), (6.0, 5.0), (math.nan, 5.0)):
        with pytest.raises(ValueError, match="no window"):
            energy(trace(TIME_S, TIME_S), begin_s, end_s)


def test_idle_power_is_the_mean_and_what_the_windows_differ_by_is_uncertain() -> None:
    watts = np.where(TIME_S < 15, 1.0, 2.0)
    found = idle_power(trace(TIME_S, watts), [(2.0, 12.0), (18.0, 28.0)])
    assert isinstance(found, Idle)
    assert [found.watts, found.uncertainty_w] == pytest.approx([1.5, 0.5], rel=0.05)
    assert isinstance(idle_power(trace(TIME_S, watts), [(2.0, 12.0), (28.0, 38.0)]), Invalid)


class Scenario(NamedTuple):
    found: Energy | Invalid
    truth_j: float
    has_gap: bool
    is_clipped: bool
    is_lost: bool


def scenario(seed: int) -> Scenario:
    """A device that idles, loops with ripples and phases, and idles again, seen by a meter with a drifting clock and faults of its own."""
    rng = np.random.default_rng([8, seed])
    seconds = rng.uniform(4, 30)
    idle_w, load_w, ripple_hz, ripple = rng.uniform(0.1, 3), rng.uniform(0.5, 20), rng.uniform(0.1, 40), rng.uniform(0, 0.4)
    begin_s, end_s, all_s = 2.0, 2.0 + seconds, 4.0 + seconds
    fine_s = np.linspace(0, all_s, int(all_s * 5000) + 1)
    runs = (fine_s > 1.5) & (fine_s < end_s + 0.5)
    fine_w = idle_w + runs * load_w * (1 + ripple * np.sin(2 * np.pi * ripple_hz * fine_s) + 0.1 * (np.floor(fine_s) % 2))
    fine_j = np.concatenate([[0], np.cumsum((fine_w[1:] + fine_w[:-1]) / 2 * np.diff(fine_s))])
    truth_j = float(np.interp(end_s, fine_s, fine_j) - np.interp(begin_s, fine_s, fine_j))

    rate_hz = 10 ** rng.uniform(1, 3.3)
    time_s = np.arange(0, all_s, 1 / rate_hz)
    time_s = np.sort(np.clip(time_s + rng.normal(0, 0.1 / rate_hz, len(time_s)), 0, all_s))  # jitter
    gain = 1 + rng.normal(0, 0.004)
    unit, range_w = "W", None
    if rng.random() < 0.5:
        values = gain * np.interp(time_s, fine_s, fine_w) + rng.normal(0, 0.05 * load_w, len(time_s))
        if rng.random() < 0.2:
            range_w = (-math.inf, rng.uniform(0.5, 1.5) * (idle_w + load_w))
            values = np.minimum(values, range_w[1])
    else:
        unit, step_s = "J", 10 ** rng.uniform(-3, -1)  # a counter moves in steps, and begins again
        values = gain * np.interp(np.floor(time_s / step_s) * step_s, fine_s, fine_j)
        values = np.unwrap(values % 50.0, period=50.0) if (np.diff(values) < 25).all() else values
    gap_s = 0.0
    kept = np.ones(len(time_s), bool)
    if rng.random() < 0.3:
        gap_s = rng.uniform(0, 0.05) * seconds
        from_s = rng.uniform(begin_s, end_s - gap_s)
        kept = (time_s < from_s) | (time_s > from_s + gap_s)
    time_s, values = time_s[kept], values[kept]
    steps = np.diff(time_s[(time_s >= begin_s) & (time_s <= end_s)])
    true = Offset(rng.uniform(-1e3, 1e3), 10 ** rng.uniform(-4, -1), rng.normal(0, 2e-5))
    error_s = rng.uniform(-1, 1) * true.uncertainty_s
    own_s = (time_s + error_s - true.seconds) / (1 + true.drift)
    seen = trace(own_s, values, unit, rate_hz=rate_hz, range_w=range_w, relative_uncertainty=0.01, offset=true)
    is_clipped = range_w is not None and bool((values[(time_s >= begin_s + 0.2) & (time_s <= end_s - 0.2)] >= range_w[1]).any())
    has_gap = bool(len(steps)) and float(steps.max()) > 3.5 / rate_hz
    return Scenario(energy(seen, begin_s, end_s), truth_j, has_gap, is_clipped, true.uncertainty_s > 0.01 * seconds)


def check(scenarios: list[Scenario]) -> None:
    for one in scenarios:
        assert not one.has_gap or "gap" in one.found.flags or "sync" in one.found.flags
        assert not one.is_clipped or "clipped" in one.found.flags or "sync" in one.found.flags
        assert one.is_lost == (isinstance(one.found, Invalid) and "sync" in one.found.flags)
    judged = [(abs(one.found.joules - one.truth_j), one) for one in scenarios if isinstance(one.found, Energy)]
    assert all(one.found.joules > 0 for _, one in judged if isinstance(one.found, Energy)) and len(judged) > len(scenarios) / 2
    good = [error <= max(0.01 * one.truth_j, one.found.uncertainty_j) for error, one in judged if isinstance(one.found, Energy)]
    assert np.mean(good) >= 0.95, f"{np.mean(good):.3f} of {len(good)}"


def test_random_scenarios_are_within_one_percent_or_their_own_interval() -> None:
    check([scenario(seed) for seed in range(60)])


@pytest.mark.nightly
def test_five_hundred_random_scenarios_are_within_one_percent_or_their_own_interval() -> None:
    check([scenario(seed) for seed in range(1000, 1500)])
