"""Clocks of known offset and drift, pinged over a link that is slow in either direction: the bound holds the truth, always."""

from __future__ import annotations

import math

import numpy as np
import pytest

from targets.power.offset import MOST_DRIFT, Ping, edges, offset
from targets.power.trace import Offset


def pings(rng: np.random.Generator, at_s: float, seconds: float, drift: float, count: int = 8) -> list[Ping]:
    """Of a device whose clock shows t + seconds + drift * t at t, answering anywhere between question and answer."""
    found = []
    for sent_s in at_s + np.cumsum(rng.uniform(0.01, 0.1, count)):
        there_s, back_s = rng.exponential(0.02, 2)
        true_s = sent_s + there_s
        found.append(Ping(sent_s, true_s + seconds + drift * true_s, true_s + back_s))
    return found


def at(found: Offset, meter_s: float) -> float:
    return meter_s + found.seconds + found.drift * (meter_s - found.at_s)


@pytest.mark.parametrize("seed", range(50))
def test_the_truth_is_within_the_bound_at_both_ends_and_between(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seconds, drift = rng.uniform(-1e4, 1e4), rng.uniform(-1e-4, 1e-4)
    before, after = pings(rng, 50.0, seconds, drift), pings(rng, 50.0 + rng.uniform(5, 500), seconds, drift)
    found = offset(before, after)
    fastest = max(min((p.received_s - p.sent_s) / 2 for p in end) for end in (before, after))
    assert found.uncertainty_s == pytest.approx(fastest)
    for meter_s in np.linspace(before[-1].received_s, after[0].sent_s, 7):
        assert abs(at(found, meter_s) - (meter_s + seconds + drift * meter_s)) <= found.uncertainty_s + 1e-5


@pytest.mark.parametrize("step_s", [-3.0, 0.5], ids=["back", "on"])
def test_a_clock_that_was_set_in_between_is_lost(step_s: float) -> None:
    rng = np.random.default_rng(0)
    assert offset(pings(rng, 0.0, 5.0, 0.0), pings(rng, 60.0, 5.0 + step_s, 0.0)).uncertainty_s == math.inf
    assert offset(pings(rng, 0.0, 5.0, 0.0), pings(rng, 60.0, 5.0, MOST_DRIFT / 5)).uncertainty_s < 1


def test_what_cannot_be_is_refused() -> None:
    good = [Ping(0.0, 5.0, 0.1)]
    for before, after, said in (
        ([], good, "no ping"),
        (good, good, "came before"),
        ([Ping(1.0, 5.0, 0.5)], [Ping(9.0, 13.0, 9.1)], "backwards"),
    ):
        with pytest.raises(ValueError, match=said):
            offset(before, after)


def test_edges_lie_between_the_readings_that_differ() -> None:
    found = edges(np.array([0.0, 1.0, 2.0, 5.0, 6.0]), np.array([0.0, 0.0, 1.0, 0.0, 0.0]))
    assert found.tolist() == [[1.0, 2.0], [2.0, 5.0]] and edges(np.zeros(3), np.ones(3)).shape == (0, 2)
