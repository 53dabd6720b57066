"""Energy of a window of a trace, with what it is worth: trapezoid for power, difference for counters, and an honest interval.

`uncertainty_j` is half the width of an interval that holds the truth in at least 95 of 100 cases. Its parts are independent and added as such:
the sensor, the clocks, the edges between two samples, the noise of the samples, gaps, lost and clipped samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from targets.power.trace import Trace

Floats = npt.NDArray[np.float64]

LEAST_S = 10.0
"""A shorter window is flagged `short` (MLPerf Tiny asks for as much)."""
GAP_PERIODS = 3.0
"""Samples further apart than so many sampling periods have a gap between them."""
MOST_SYNC = 0.01
"""Of the window: clocks that are set beside each other less well make it invalid."""
MOST_CLIPPED = 0.001
"""Of the window's samples: more of them at the sensor's limits, and the energy is a lower bound, not a number."""
MOST_UNCERTAIN = 0.05
"""Of the energy, by all but the sensor's own part: a window that is worth less is invalid."""
FEW_SAMPLES, LEAST_SAMPLES = 10, 3


@dataclass(frozen=True, slots=True)
class Idle:
    """What a device draws when it does nothing of ours."""

    watts: float
    uncertainty_w: float


@dataclass(frozen=True, slots=True)
class Energy:
    """Of one window."""

    joules: float
    """Gross: all that the rails gave."""
    net_joules: float | None
    """Without what the device draws when it is idle; None: that is not known."""
    average_w: float
    peak_w: float
    """The largest sample; of a counter what was told beside it, else its largest rise: what the sampling rate shows of it."""
    uncertainty_j: float
    net_uncertainty_j: float | None
    seconds: float
    flags: tuple[str, ...]
    """`gap`, `clipped`, `drops`, `sync`, `short`, `few_samples`, and those of the trace itself."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """A window that cannot be trusted."""

    reason: str
    flags: tuple[str, ...]


class _Part(NamedTuple):
    """What the sum of the channels in watts, or one counter, says of a window."""

    joules: float
    peak_w: float
    low_w: float
    high_w: float
    """Least and most over the whole trace: between two samples it was most likely no other."""
    edge_w: tuple[float, float]
    edge_apart_s: tuple[float, float]
    """How far apart the readings are between which each edge lies."""
    noise_j: float | None
    """Of samples that stand for the time around them; a counter adds all up itself, and misses nothing in a gap."""
    samples: int


def energy(trace: Trace, begin_s: float, end_s: float, *, edge_s: float = 0.0, idle: Idle | None = None) -> Energy | Invalid:
    """Of the seconds from `begin_s` to `end_s` on the device's clock, which are known to within `edge_s`."""
    seconds, time_s = end_s - begin_s, trace.device_s
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"no window: from {begin_s} to {end_s}")
    flags = [*trace.flags, *(["short"] if seconds < LEAST_S else [])]

    def invalid(reason: str, *more: str) -> Invalid:
        return Invalid(f"{trace.meter}: {reason}", tuple(sorted({*flags, *more})))

    sync_s = edge_s + (trace.offset.uncertainty_s if trace.offset else 0.0)
    if not sync_s <= MOST_SYNC * seconds:
        return invalid(f"the clocks are known to within {sync_s:.3g} s of a window of {seconds:.3g} s, more than 1 %", "sync")
    if not len(time_s) or time_s[0] > begin_s or time_s[-1] < end_s:
        return invalid("it was not read over the whole window", "gap")

    gap_s, clipped_share = _gaps(trace, time_s, begin_s, end_s), _clipped(trace, time_s, begin_s, end_s)
    lost_share = trace.dropped / (trace.dropped + len(time_s))
    flags += [name for name, is_so in (("gap", gap_s), ("drops", trace.dropped), ("clipped", clipped_share)) if is_so]
    if clipped_share > MOST_CLIPPED:
        return invalid(f"{clipped_share:.2%} of the samples are at the limit of its range; choose a larger one")

    parts = [_of_power(time_s, watts, begin_s, end_s) for watts in _power(trace)]
    parts += [_of_counter(time_s, joules, begin_s, end_s) for joules in _counters(trace)]
    fewest = min(part.samples for part in parts)
    flags += ["few_samples"] if fewest < FEW_SAMPLES else []
    if fewest < LEAST_SAMPLES:
        return invalid(f"{fewest} new readings in a window of {seconds:.3g} s; sample faster, or measure longer")
    total = sum(part.joules for part in parts)
    if total <= 0:
        return invalid(
            f"it says {total:.3g} J over {seconds:.3g} s; a device that runs takes energy: check wiring, rail and sign"
        )

    uncertain = [clipped_share * seconds * sum(part.peak_w for part in parts)]
    for part in parts:
        spread_w = part.high_w - part.low_w
        uncertain += [sync_s * watts for watts in part.edge_w]
        uncertain += [spread_w * apart_s / 4 for apart_s in part.edge_apart_s]
        if part.noise_j is not None:
            uncertain += [part.noise_j, spread_w * gap_s, spread_w * lost_share * seconds]
    own_j = math.hypot(*uncertain)
    if not own_j <= MOST_UNCERTAIN * total:
        return invalid(f"{total:.3g} J are uncertain by {own_j:.2g} J; measure longer, or sample faster")
    all_j = math.hypot(own_j, trace.relative_uncertainty * total)
    return Energy(
        total,
        None if idle is None else total - idle.watts * seconds,
        total / seconds,
        _told_peak(trace, begin_s, end_s) or sum(part.peak_w for part in parts),
        all_j,
        None if idle is None else math.hypot(all_j, idle.uncertainty_w * seconds),
        seconds,
        tuple(sorted(flags)),
    )


def idle_power(trace: Trace, windows: Sequence[tuple[float, float]]) -> Idle | Invalid:
    """The mean over windows in which the device idled; what they differ by counts as uncertainty."""
    found = [energy(trace, begin_s, end_s) for begin_s, end_s in windows]
    for window in found:
        if isinstance(window, Invalid):
            return window
    energies = [window for window in found if isinstance(window, Energy)]
    watts = [window.average_w for window in energies]
    own_w = math.hypot(*(window.uncertainty_j / window.seconds for window in energies)) / len(energies)
    return Idle(sum(watts) / len(watts), math.hypot(own_w, (max(watts) - min(watts)) / 2))


def power(trace: Trace) -> tuple[Floats, Floats]:
    """(seconds on the device's clock, watts) of all channels together: samples as they are, counters by their rise since the last reading."""
    time_s = trace.device_s
    watts = sum(_power(trace), np.zeros(len(time_s)))
    if counters := _counters(trace):
        steps = np.diff(time_s)
        rises = sum((np.diff(joules) for joules in counters), np.zeros(len(steps)))
        is_apart = steps > 0
        return time_s[1:][is_apart], watts[1:][is_apart] + rises[is_apart] / steps[is_apart]
    return time_s, watts


def _power(trace: Trace) -> list[Floats]:
    """[n] the sum of all channels in watts, if there are any."""
    columns = [index for index, channel in enumerate(trace.channels) if channel.unit == "W"]
    return [trace.values[:, columns].sum(axis=1)] if columns else []


def _counters(trace: Trace) -> list[Floats]:
    return [trace.values[:, index] for index, channel in enumerate(trace.channels) if channel.unit == "J"]


def _of_power(time_s: Floats, watts: Floats, begin_s: float, end_s: float) -> _Part:
    """Trapezoid over the samples inside, and over the edges as the line between the samples around them shows them."""
    inside = (time_s > begin_s) & (time_s < end_s)
    edge_w = np.interp([begin_s, end_s], time_s, watts)
    times = np.concatenate([[begin_s], time_s[inside], [end_s]])
    values = np.concatenate([edge_w[:1], watts[inside], edge_w[1:]])
    count = int(inside.sum())
    # What each sample is off the line between its neighbours, whose variance is 1.5 times the noise's where that is white.
    off = values[1:-1] - (values[:-2] + values[2:]) / 2
    noise_w = math.sqrt(float(np.mean(off**2)) / 1.5) if count else math.inf
    return _Part(
        float(np.trapezoid(values, times)),
        float(values.max()),
        float(watts.min()),
        float(watts.max()),
        (float(edge_w[0]), float(edge_w[1])),
        _apart(time_s, begin_s, end_s),
        2 * noise_w * (end_s - begin_s) / math.sqrt(max(count, 1)),
        count,
    )


def _of_counter(time_s: Floats, joules: Floats, begin_s: float, end_s: float) -> _Part:
    """Difference between the edges, each on the line between the readings around it that changed: a counter moves in steps of its own."""
    changed = np.concatenate([[True], np.diff(joules) > 0])
    times, counts = time_s[changed], joules[changed]
    inside = int(((times > begin_s) & (times < end_s)).sum())
    if inside < LEAST_SAMPLES or times[-1] < end_s or times[0] > begin_s:
        if (
            inside >= LEAST_SAMPLES and time_s[-1] >= end_s
        ):  # it still holds its last step: who asks for more would wait for the next
            times, counts = np.append(times, time_s[-1]), np.append(counts, joules[-1])
        else:
            return _Part(0.0, 0.0, 0.0, 0.0, (0.0, 0.0), (0.0, 0.0), None, 0)
    rises = np.diff(counts) / np.maximum(np.diff(times), 1e-9)
    first, last = (int(np.searchsorted(times, edge, side="right")) for edge in (begin_s, end_s))
    within = rises[first - 1 : last]
    edge_w = (float(within[0]), float(within[-1]))
    start_j, stop_j = np.interp([begin_s, end_s], times, counts)
    return _Part(
        float(stop_j - start_j),
        float(within.max()),
        float(rises.min()),
        float(rises.max()),
        edge_w,
        _apart(times, begin_s, end_s),
        None,
        inside,
    )


def _told_peak(trace: Trace, begin_s: float, end_s: float) -> float:
    """The largest of what was told beside counters in the window; 0 where nothing was."""
    at_s = trace.on_device(trace.peaks[:, 0])
    return float(trace.peaks[(at_s > begin_s) & (at_s <= end_s), 1].max(initial=0.0))


def _apart(time_s: Floats, begin_s: float, end_s: float) -> tuple[float, float]:
    """How far apart the readings are between which each edge lies."""
    steps = np.diff(time_s)
    places = [min(max(int(np.searchsorted(time_s, edge, side="right")) - 1, 0), len(steps) - 1) for edge in (begin_s, end_s)]
    return float(steps[places[0]]), float(steps[places[1]])


def _gaps(trace: Trace, time_s: Floats, begin_s: float, end_s: float) -> float:
    """Seconds of the window that lie between samples too far apart."""
    steps = np.diff(time_s)
    if not len(steps):
        return end_s - begin_s
    period_s = 1 / trace.rate_hz if trace.rate_hz else float(np.median(steps))
    overlaps = np.minimum(time_s[1:], end_s) - np.maximum(time_s[:-1], begin_s)
    return float(overlaps[(steps > GAP_PERIODS * period_s) & (overlaps > 0)].sum())


def _clipped(trace: Trace, time_s: Floats, begin_s: float, end_s: float) -> float:
    """Share of the window's samples that are at the sensor's limit in any channel of power."""
    columns = [index for index, channel in enumerate(trace.channels) if channel.unit == "W"]
    inside = (time_s >= begin_s) & (time_s <= end_s)
    if trace.range_w is None or not columns or not inside.any():
        return 0.0
    low_w, high_w = trace.range_w
    values = trace.values[inside][:, columns]
    return float(((values >= high_w) | (values < low_w)).any(axis=1).mean())
