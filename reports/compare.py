"""Two runs side by side: what is significantly other than it was. What did not change is counted, and nothing else is said of it.

The runs were made at different times, so launches are not paired. All tests together have one share of false discoveries; a ratio must also
be as large as `least`, for two sessions on one machine differ a little by what no launch of either can see.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from reports.findings import ALPHA, Quantity, corrected, least_effect, noise_floor, quantity_of
from reports.inputs import Changed, changed_inputs, changed_machine
from reports.metrics import METRICS
from results import stats
from results.quality import QUALITIES
from results.record import STATUSES, Measurement, Record, Run

LEAST = 0.02
"""Smaller changes of a time, an energy or a size are not told, however significant."""
DRIFT_CELLS = 5
"""From this many latencies on one machine that all moved one way, the machine is suspected."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of one cell, significantly other than it was."""

    before: Record
    after: Record
    metric: str
    was: Quantity
    now: Quantity
    change: Quantity
    """now / was - 1, unit `change`; of a quality now - was, unit `points`."""
    q: float | None
    """p corrected over all tests; None where values are counted, not sampled."""

    @property
    def is_worse(self) -> bool:
        assert self.change.value is not None
        return (self.change.value > 0) == (METRICS[self.metric].better == "low")

    @property
    def size(self) -> float:
        """|log(now / was)|, so that a half and a double weigh the same."""
        return _distance(self.was.value, self.now.value)


class Pair(NamedTuple):
    """One cell in both runs."""

    before: Record
    after: Record

    @property
    def is_worse(self) -> bool:
        return self.before.status == "ok" != self.after.status

    @property
    def is_better(self) -> bool:
        return self.after.status == "ok" != self.before.status


class Uncompared(NamedTuple):
    """A number that one of the runs lacks, or that does not compare."""

    pair: Pair
    metric: str
    why: str


class Elsewhere(NamedTuple):
    """Cells whose machine is another one than it was: none of their numbers is compared."""

    before: str
    after: str
    differs: tuple[Changed, ...]
    pairs: tuple[Pair, ...]


class Drift(NamedTuple):
    """All latencies of one machine moved one way: a change of the machine looks like that."""

    machine_key: str
    cells: int
    change: float
    """Median of now / was - 1."""


@dataclass(frozen=True, slots=True)
class Diff:
    """All that differs between two runs; worst first."""

    before: Run
    after: Run
    least: float
    floor: float | None
    """Largest noise floor of the machines whose numbers are compared: smaller changes of what was sampled are not told either."""
    statuses: tuple[Pair, ...]
    differences: tuple[Difference, ...]
    drifts: tuple[Drift, ...]
    elsewhere: tuple[Elsewhere, ...]
    uncompared: tuple[Uncompared, ...]
    only_before: tuple[Record, ...]
    only_after: tuple[Record, ...]
    inputs: Mapping[Changed, int]
    """Input -> how many cells it changed for."""
    compared: int
    """Numbers that both runs have and that were compared."""
    reused: int
    """Cells that both runs answer by the very same record."""

    @property
    def unchanged(self) -> int:
        return self.compared - len(self.differences)

    @property
    def is_worse(self) -> bool:
        return any(pair.is_worse for pair in self.statuses) or any(difference.is_worse for difference in self.differences)


def compare(
    before: Run, after: Run, before_records: Sequence[Record], after_records: Sequence[Record], least: float = LEAST
) -> Diff:
    """Join the cells of two runs by their keys and say what changed. `least`: smallest relative change that is told."""
    old, new = ({record.cell_key: record for record in records} for records in (before_records, after_records))
    pairs = [Pair(old[key], record) for key, record in new.items() if key in old and old[key].id != record.id]
    here = [pair for pair in pairs if not _is_elsewhere(pair)]
    found = [number for pair in here if pair.before.status == pair.after.status == "ok" for number in _numbers(pair)]
    numbers = [number for number in found if isinstance(number, _Number)]
    return Diff(
        before,
        after,
        least,
        noise_floor(*(record for pair in here for record in pair)),
        tuple(sorted((p for p in here if p.before.status != p.after.status), key=_gravity)),
        tuple(sorted(_significant(numbers, least), key=lambda found: (not found.is_worse, -found.size))),
        tuple(_drifts(numbers, least)),
        tuple(_elsewhere(pairs)),
        tuple(number for number in found if isinstance(number, Uncompared)),
        tuple(record for key, record in old.items() if key not in new),
        tuple(record for key, record in new.items() if key not in old),
        Counter(changed for pair in here for changed in changed_inputs(*pair)),
        len(numbers),
        sum(key in old and old[key].id == record.id for key, record in new.items()),
    )


class _Number(NamedTuple):
    """One metric of one cell in both runs, with the test of its change."""

    difference: Difference
    p_value: float | None
    """None: counted, or the same samples; there is nothing to test."""


def _numbers(pair: Pair) -> Iterator[_Number | Uncompared]:
    metrics = dict.fromkeys(m.metric for record in pair for m in record.measurements if _is_compared(m))
    for metric in metrics:
        one, other = pair.before.measurement(metric), pair.after.measurement(metric)
        if one is None or other is None:
            yield Uncompared(pair, metric, f"only the {'new' if one is None else 'old'} record has it")
            continue
        was, now = quantity_of(one), quantity_of(other)
        if was.missing is not None and now.missing is not None:
            continue
        if was.missing is not None or now.missing is not None:
            yield Uncompared(pair, metric, f"missing {'before' if now.missing is None else 'now'}: {was.missing or now.missing}")
        elif was.origin != now.origin:
            yield Uncompared(pair, metric, f"was {was.origin}, is {now.origin}")
        else:
            yield _tested(pair, one, other, was, now)


def _is_compared(measurement: Measurement) -> bool:
    """Results that are better low or high; not those computed from another one, which would only say the same again."""
    metric = METRICS.get(measurement.metric)
    return metric is not None and metric.better is not None and not measurement.derived_from


def _tested(pair: Pair, one: Measurement, other: Measurement, was: Quantity, now: Quantity) -> _Number | Uncompared:
    assert one.samples is not None and other.samples is not None and was.value is not None and now.value is not None
    metric = one.metric

    def number(change: Quantity, p_value: float | None) -> _Number:
        return _Number(Difference(*pair, metric, was, now, change, None), p_value)

    if metric in QUALITIES:
        if not np.array_equal(one.samples.label, other.samples.label) or _data(pair.before) != _data(pair.after):
            return Uncompared(pair, metric, "judged on other examples than before")
        p_value = None if one.samples == other.samples else QUALITIES[metric].p_value(one.samples, other.samples)
        return number(Quantity("points", now.value - was.value), p_value)
    if METRICS[metric].exact or one.samples == other.samples:
        if was.value <= 0 or now.value <= 0:
            return Uncompared(pair, metric, "no ratio: a value is not positive")
        return number(Quantity("change", now.value / was.value - 1), None)
    ratio = stats.ratio(other.samples, one.samples, paired=False, minimum_effect=least_effect(*pair))
    if ratio.p_value is None or ratio.low is None or ratio.high is None:
        return Uncompared(pair, metric, ratio.method)
    return number(Quantity("change", ratio.estimate - 1, ratio.low - 1, ratio.high - 1), ratio.p_value)


def _significant(numbers: Sequence[_Number], least: float) -> Iterator[Difference]:
    q = corrected({index: number.p_value for index, number in enumerate(numbers)})
    for index, (found, p_value) in enumerate(numbers):
        change = found.change
        smallest = least if p_value is None else max(least, least_effect(found.before, found.after))
        is_large = change.unit == "points" or found.size >= math.log1p(smallest)
        holds_none = change.low is not None and change.high is not None and change.low <= 0 <= change.high
        if change.value and is_large and not holds_none and q.get(index, 0.0) < ALPHA:
            yield replace(found, q=q.get(index))


def _drifts(numbers: Sequence[_Number], least: float) -> Iterator[Drift]:
    moved: dict[str, list[float]] = {}
    for found, _ in numbers:
        if found.metric == "latency" and found.change.value is not None:
            moved.setdefault(found.after.machine_key, []).append(found.change.value)
    for key, changes in moved.items():
        middle = statistics.median(changes)
        one_way = all(change > 0 for change in changes) or all(change < 0 for change in changes)
        if len(changes) >= DRIFT_CELLS and one_way and abs(middle) >= least:
            yield Drift(key, len(changes), middle)


def _elsewhere(pairs: Sequence[Pair]) -> Iterator[Elsewhere]:
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        if _is_elsewhere(pair):
            groups.setdefault((pair.before.machine_key, pair.after.machine_key), []).append(pair)
    for (before, after), found in groups.items():
        yield Elsewhere(before, after, changed_machine(*found[0]), tuple(found))


def _is_elsewhere(pair: Pair) -> bool:
    """A cell that never reached a device has no machine; whatever its status says is not the machine's."""
    one, other = pair.before.machine_key, pair.after.machine_key
    return bool(one and other and one != other)


def _gravity(pair: Pair) -> tuple[bool, bool, int]:
    """From ok to wrong first, then from ok to anything else; last what became ok."""
    severity = ("wrong", "failed", "invalid", "unreachable", "unsupported", "ok")
    assert set(severity) == set(STATUSES)
    return (not pair.is_worse, pair.is_better, severity.index(pair.after.status))


def _data(record: Record) -> object:
    data = record.provenance.get("data")
    return data.get("sha256") if isinstance(data, Mapping) else None


def _distance(was: float | None, now: float | None) -> float:
    return abs(math.log(now / was)) if was and now and was > 0 and now > 0 else math.inf
