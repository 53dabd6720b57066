"""Two clocks set beside each other: each ping asks one for its time between two looks at the other (Cristian 1989).

A ping's answer was given somewhere between the looks, so the offset at their middle is right to within half the time between them. The fastest
ping knows it best. Pings at both ends of a recording give the drift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from targets.power.trace import Offset

MOST_DRIFT = 5e-4
"""Seconds a second: quartz is ten times better; clocks that part faster than this were set, or stood still, in between."""


class Ping(NamedTuple):
    """A look at the meter's clock, one at the device's, and one at the meter's again; in seconds."""

    sent_s: float
    device_s: float
    received_s: float


def offset(before: Sequence[Ping], after: Sequence[Ping]) -> Offset:
    """From the meter's clock to the device's, by pings at both ends of a recording.

    A clock that stepped in between leaves an offset of infinite uncertainty, which no window is valid by.
    """
    ends = [_fastest(before), _fastest(after)]
    (first_s, first_at_s, first_by_s), (last_s, last_at_s, last_by_s) = map(_seen, ends)
    between_s = last_at_s - first_at_s
    if between_s <= 0:
        raise ValueError("the pings after a recording came before those that began it")
    # Between its ends a line is never further off than at the worse one.
    by_s = max(first_by_s, last_by_s) if are_of_one_clock(ends) else math.inf
    return Offset(first_s, by_s, (last_s - first_s) / between_s, first_at_s)


def are_of_one_clock(pings: Sequence[Ping]) -> bool:
    """Whether each two of them can be true of clocks that part by no more than `MOST_DRIFT`."""
    seconds, at_s, by_s = np.array([_seen(ping) for ping in pings]).T
    apart_s, between_s = (np.abs(x[:, None] - x) for x in (seconds, at_s))
    return bool((apart_s <= MOST_DRIFT * between_s + by_s[:, None] + by_s).all())


def edges(time_s: npt.NDArray[np.float64], levels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[k, 2] of readings of a digital line [n]: between which two of them it changed, each time."""
    changed = np.flatnonzero(np.diff(levels))
    return np.stack([time_s[changed], time_s[changed + 1]], axis=1)


def _fastest(pings: Sequence[Ping]) -> Ping:
    """That took the shortest time."""
    if not pings:
        raise ValueError("no ping was answered")
    fastest = min(pings, key=lambda ping: ping.received_s - ping.sent_s)
    if fastest.received_s < fastest.sent_s:
        early_s = fastest.sent_s - fastest.received_s
        raise ValueError(f"an answer came {early_s:g} s before its question: the meter's clock went backwards")
    return fastest


def _seen(ping: Ping) -> tuple[float, float, float]:
    """(offset, when on the meter's clock, to within) by it."""
    middle_s = (ping.sent_s + ping.received_s) / 2
    return ping.device_s - middle_s, middle_s, (ping.received_s - ping.sent_s) / 2
