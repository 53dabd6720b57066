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
    (first_s, first_at_s, first_by_s), (last_s, last_at_s, last_by_s) = _fastest(before), _fastest(after)
    between_s = last_at_s - first_at_s
    if between_s <= 0:
        raise ValueError("the pings after a recording came before those that began it")
    is_lost = abs(last_s - first_s) > MOST_DRIFT * between_s + first_by_s + last_by_s
    # Between its ends a line is never further off than at the worse one.
    return Offset(first_s, math.inf if is_lost else max(first_by_s, last_by_s), (last_s - first_s) / between_s, first_at_s)


def edges(time_s: npt.NDArray[np.float64], levels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[k, 2] of readings of a digital line [n]: between which two of them it changed, each time."""
    changed = np.flatnonzero(np.diff(levels))
    return np.stack([time_s[changed], time_s[changed + 1]], axis=1)


def _fastest(pings: Sequence[Ping]) -> tuple[float, float, float]:
    """(offset, when on the meter's clock, to within) by the ping that took the shortest time."""
    if not pings:
        raise ValueError("no ping was answered")
    sent_s, device_s, received_s = min(pings, key=lambda ping: ping.received_s - ping.sent_s)
    if received_s < sent_s:
        raise ValueError(f"an answer came {sent_s - received_s:g} s before its question: the meter's clock went backwards")
    middle_s = (sent_s + received_s) / 2
    return device_s - middle_s, middle_s, (received_s - sent_s) / 2
