"""A meter's clock set beside ours by when its readings arrive: never before they were taken, and now and then at once."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from targets.power.trace import Offset

Floats = npt.NDArray[np.float64]

LEAST_UNCERTAINTY_S = 0.001
"""What the fastest reading takes to arrive is not seen; over a serial line or USB it is below this."""

PARTS = 10


def offset_of_arrivals(meter_s: Floats, arrived_s: Floats) -> Offset:
    """From a meter's clock to the one that its readings [n] are stamped with as they arrive.

    Of all lines that no reading arrives before, the one that lies closest to them: an edge of their lower convex hull, the one over their mean
    (Zhang, Liu, Xia 2002, "Clock synchronization algorithms for network measurements"). Uncertain by how late even the fastest reading is in some
    part of the recording: where readings were lost unseen, all that come after them are.
    """
    late_s = arrived_s - meter_s
    at_s = float(meter_s.mean())
    left, right = _edge_over_zero(_lower_hull(meter_s - at_s, late_s))
    drift = (right[1] - left[1]) / (right[0] - left[0]) if right[0] > left[0] else 0.0
    seconds = left[1] - drift * left[0]
    above_s = late_s - seconds - drift * (meter_s - at_s)
    fastest_s = [part.min() for part in np.array_split(above_s, min(PARTS, len(above_s)))]
    return Offset(float(seconds), LEAST_UNCERTAINTY_S + float(max(fastest_s)), float(drift), at_s)


def joined(first: Offset | None, second: Offset | None) -> Offset | None:
    """From a meter's clock to the device's, by way of a clock between: ours."""
    if first is None or second is None:
        return first or second
    between_s = first.at_s + first.seconds  # what the clock between shows where `first.seconds` holds
    seconds = first.seconds + second.seconds + second.drift * (between_s - second.at_s)
    drift = (1 + first.drift) * (1 + second.drift) - 1
    return Offset(seconds, first.uncertainty_s + second.uncertainty_s, drift, first.at_s)


def _lower_hull(x: Floats, y: Floats) -> list[tuple[float, float]]:
    """From left to right (Andrew's monotone chain); of points above each other, the lowest."""
    hull: list[tuple[float, float]] = []
    for px, py in sorted(zip(x.tolist(), y.tolist(), strict=True)):
        if hull and hull[-1][0] == px:
            continue
        while len(hull) > 1 and _turns_right(hull[-2], hull[-1], (px, py)):
            hull.pop()
        hull.append((px, py))
    return hull


def _turns_right(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) <= (b[1] - a[1]) * (c[0] - a[0])


def _edge_over_zero(hull: list[tuple[float, float]]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Of a hull around 0; a single point is an edge of no length."""
    return next(((a, b) for a, b in itertools.pairwise(hull) if a[0] <= 0 <= b[0]), (hull[0], hull[0]))
