"""History: one cell night after night, and where its level changed. Another machine is another series; the two are never joined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from reports.findings import ALPHA, corrected, timed_values
from reports.metrics import METRICS
from results import stats
from results.changes import LONGEST, Change, detect
from results.query import Past
from results.record import Origin, Status

METRIC = "latency"


class Night(NamedTuple):
    """One record of a cell, in SI units; no value where the record has none."""

    record_id: str
    started: str
    """UTC, ISO 8601."""
    status: Status
    input_hash: str
    value: float | None = None
    low: float | None = None
    high: float | None = None


class Step(NamedTuple):
    """A change of level, seen in the measured nights of one series."""

    change: Change
    night: Night
    """The first of the new level."""
    same_inputs: bool
    """Whether sources, data, weights and toolchain were those of the night before: then it is the machine that changed."""
    significant: bool
    """Corrected over all series of the report; else only this series, looked at alone, says so."""

    @property
    def is_worse(self) -> bool:
        return (self.change.ratio > 1) == (METRICS[METRIC].better == "low")


class Series(NamedTuple):
    """One cell on one machine, oldest night first."""

    machine_key: str
    nights: tuple[Night, ...]
    steps: tuple[Step, ...]

    @property
    def measured(self) -> list[Night]:
        return [night for night in self.nights if night.value is not None]


class History(NamedTuple):
    """One cell on every machine it ran on, in the order it came to them."""

    unit: str
    origin: Origin
    series: tuple[Series, ...]

    @property
    def nights(self) -> int:
        return sum(len(series.nights) for series in self.series)

    @property
    def newest(self) -> Step | None:
        """The last step on the machine that the cell runs on now."""
        steps = self.series[-1].steps
        return steps[-1] if steps else None


def histories(past: Iterable[Past]) -> dict[str, History]:
    """Cell key -> its history, of cells that have been measured at all; of each series the newest nights, as many as are looked at together."""
    units: dict[str, tuple[str, Origin]] = {}
    found: dict[tuple[str, str], list[Night]] = {}
    for point in past:
        found.setdefault((point.cell_key, point.machine_key), []).append(_night(point))
        if point.unit is not None and point.origin is not None:
            units[point.cell_key] = point.unit, point.origin
    series = {key: nights[-LONGEST:] for key, nights in found.items() if key[0] in units}
    detections = {key: detect([v for n in nights if (v := n.value) is not None]) for key, nights in series.items()}
    q = corrected({key: detection.p_value for key, detection in detections.items()})
    cells: dict[str, list[Series]] = {}
    for key, nights in series.items():
        steps = _steps(nights, detections[key].changes, q.get(key, 1.0) < ALPHA)
        cells.setdefault(key[0], []).append(Series(key[1], tuple(nights), steps))
    return {key: History(*units[key], tuple(of_cell)) for key, of_cell in cells.items()}


def by_newest_step(found: Mapping[str, History]) -> list[str]:
    """Keys of the cells that changed: significantly before possibly, the newest first, the largest first of one night."""
    changed = {key: step for key, history in found.items() if (step := history.newest) is not None}

    def order(key: str) -> tuple[bool, str, float]:
        step = changed[key]
        return step.significant, step.night.started[:10], abs(float(np.log(step.change.ratio)))

    return sorted(changed, key=order, reverse=True)


def _night(point: Past) -> Night:
    """Only an ok cell has a latency; a value that is no positive number has no place among ratios, and is left out."""
    night = Night(point.record_id, point.started, point.status, point.input_hash)
    if point.status != "ok" or point.samples is None:
        return night
    values = timed_values(point.samples)
    if not len(values) or not np.isfinite(values).all() or values.min() <= 0:
        return night
    interval = stats.median_interval(point.samples)
    return night._replace(value=interval.estimate, low=interval.low, high=interval.high)


def _steps(nights: Sequence[Night], changes: Sequence[Change], significant: bool) -> tuple[Step, ...]:
    measured = [night for night in nights if night.value is not None]
    return tuple(
        Step(change, measured[change.at], measured[change.at].input_hash == measured[change.at - 1].input_hash, significant)
        for change in changes
    )
