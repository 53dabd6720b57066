"""Findings: what the records of a run say, as numbers: estimates, speed-ups and accuracy changes, corrected over the whole matrix.

Every statistic comes from `results.stats`; nothing is rounded here.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from reports.energy import flag_words, meter_remark
from reports.matrix import Matrix, Place, arrange, place_of
from reports.metrics import title_of
from reports.tree import section
from results import stats
from results.quality import QUALITIES
from results.record import Measurement, Origin, Record, Run, Samples

if TYPE_CHECKING:
    from reports.history import History

ALPHA = 0.05
"""Share of false alarms that is borne among all the differences a report calls real (Benjamini and Hochberg 1995)."""

ORIGIN_REMARKS: Mapping[Origin, str] = {
    "emulated": "emulated: the answers are the device's, the times are not",
    "simulated": "simulated: the time comes from a simulator, not from a device",
    "estimated": "estimated: computed from a model, not measured",
}

CLAIMED_RATIOS: Mapping[str, str] = {
    "claimed_speedup": "nonzero_macs",
    "claimed_size_ratio": "weight_bytes",
    "claimed_bits_ratio": "weight_bits",
    "claimed_params_ratio": "nonzero_params",
}
"""Derived metric -> the claim it is the ratio of: baseline over candidate, so above 1 is an improvement."""

Key = TypeVar("Key", bound=Hashable)


class Quantity(NamedTuple):
    """One number of one cell in SI units with its 95 % interval, or the reason why there is none."""

    unit: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    missing: str | None = None
    origin: Origin | None = None
    """None for what a method claims: not taken from a device at all."""
    remarks: tuple[str, ...] = ()
    """What a reader must know beside the number."""
    significant: bool | None = None
    """Whether a ratio or change is distinguishable from none; None where the question does not arise."""
    interval_method: str = ""
    """How the interval was computed, in the words of `results.stats`."""


Measured = Mapping[str, Mapping[str, Quantity]]
"""record id -> metric -> quantity."""


@dataclass(frozen=True)
class Comparison:
    """One cell against its baseline: speed-up = baseline latency / this latency."""

    baseline: Record
    ratio: stats.Ratio
    q: float | None
    """p corrected over every comparison of the run; None when one launch leaves nothing to test."""

    @property
    def significant(self) -> bool:
        return is_significant(self.ratio, self.q)


@dataclass(frozen=True)
class Change:
    """Quality of one cell's answers less its baseline's, over the same examples."""

    difference: float
    examples: int
    q: float

    @property
    def significant(self) -> bool:
        return bool(self.q < ALPHA)


@dataclass(frozen=True)
class Findings:
    """All numbers of one run, computed once; every table, figure and sentence reads them here. Keyed by record id."""

    matrix: Matrix
    quantities: Measured
    """Of the cells whose status is ok, derived metrics included."""
    comparisons: Mapping[str, Comparison]
    changes: Mapping[str, Change]
    sha256: Mapping[str, str]
    histories: Mapping[str, History] = field(default_factory=dict)
    """By cell key: what earlier runs measured of the cells, where the caller has asked the store."""

    @property
    def run(self) -> Run:
        return self.matrix.run

    def is_baseline(self, record: Record) -> bool:
        place = place_of(record.axes)
        return self.matrix.baseline(place) == place

    def title(self, metric: str, records: Iterable[Record]) -> str:
        """How a column over these cells is headed: `quality` by the networks' own metric, where they have one in common."""
        if metric not in ("quality", "quality_change"):
            return title_of(metric)
        names = {quality_metric(record) for record in records if record.id in self.quantities}
        if len(names) != 1:
            return title_of(metric)
        return title_of(names.pop()) + (" change" if metric == "quality_change" else "")

    def quantity(self, record: Record, metric: str) -> Quantity:
        """Any metric of an ok cell; an unknown one is missing with its reason."""
        found = self.quantities[record.id].get(metric)
        return found if found is not None else Quantity("", missing=f"this cell has no metric `{metric}`")


def examine(run: Run, records: Sequence[Record]) -> Findings:
    """Compute every number of a run. Only cells whose status is ok have any: a wrong answer has no latency."""
    matrix = arrange(run, records)
    placed = {place: record for place, record in matrix.records.items() if record.status == "ok"}
    measured = {r.id: {m.metric: _by_meter(r, m.metric, quantity_of(m)) for m in r.measurements} for r in placed.values()}
    comparisons, why_no_ratio = _compare(matrix, placed, measured)
    changes, why_no_change = _changes(matrix, placed, measured)
    quantities = {
        record.id: {
            **_claims(record),
            **_claimed_ratios(matrix, place, record),
            "speedup": _speedup(matrix, place, record, measured, comparisons, why_no_ratio),
            "quality_change": _quality_change(matrix, place, record, changes, why_no_change),
            **measured[record.id],
            **_quality(record, measured[record.id]),
        }
        for place, record in placed.items()
    }
    return Findings(matrix, quantities, comparisons, changes, {r.id: r.sha256() for r in matrix.records.values()})


def tier_of(record: Record) -> str:
    """How far the device's clock was under control: `pinned`, `requested` or `uncontrolled`; empty where that was not recorded."""
    return str(section(record.provenance, "device", "control").get("tier", ""))


def noise_floor(*records: Record) -> float | None:
    """Relative difference that identical programs may show on the machine of these records, by an A/A there; None where none was made."""
    floors = [section(record.provenance, "device", "noise").get("floor") for record in records]
    return max((floor for floor in floors if isinstance(floor, float) and 0 < floor < 1), default=None)


def least_effect(*records: Record) -> float:
    """A ratio of these records within it is none: the minimum effect, or the machine's noise floor where that is larger."""
    return max(stats.MINIMUM_EFFECT, noise_floor(*records) or 0.0)


def quality_metric(record: Record) -> str:
    """The metric that the record's network is judged by; `quality` where it was not judged at all."""
    return next((m.metric for m in record.measurements if m.metric in QUALITIES), "quality")


def timed_values(samples: Samples) -> npt.NDArray[np.float64]:
    return samples.value[samples.timed]


def can_be_paired(a: Record, b: Record, metric: str) -> bool:
    """Whether launch i of one cell stood beside launch i of the other: the launches of one run are interleaved in rounds."""
    one, other = a.measurement(metric), b.measurement(metric)
    if a.run_id != b.run_id or one is None or other is None or one.samples is None or other.samples is None:
        return False
    return np.array_equal(np.unique(one.samples.launch), np.unique(other.samples.launch))


def is_significant(ratio: stats.Ratio, q: float | None) -> bool:
    """Both must hold: the corrected p is small, and the interval of the ratio does not contain 1."""
    if q is None or ratio.low is None or ratio.high is None:
        return False
    return bool(q < ALPHA and not ratio.low <= 1.0 <= ratio.high)


def corrected(p_values: Mapping[Key, float | None]) -> dict[Key, float]:
    """Benjamini-Hochberg over one family of tests; what could not be tested (None or NaN) is not in it."""
    tested = {key: p for key, p in p_values.items() if p is not None and math.isfinite(p)}
    return dict(zip(tested, stats.false_discovery(list(tested.values())), strict=True))


def quantity_of(measurement: Measurement) -> Quantity:
    """Estimate, interval and remarks of one measurement by itself, or why there is no number."""
    samples, unit = measurement.samples, measurement.unit
    if samples is None:
        return Quantity(unit, missing=measurement.reason, origin=measurement.origin)
    values = timed_values(samples)
    if not len(values):
        return Quantity(unit, missing="every sample was taken while warming up", origin=measurement.origin)
    if not np.isfinite(values).all():
        return Quantity(unit, missing="a sample is not a finite number", origin=measurement.origin)
    remarks = tuple(ORIGIN_REMARKS[measurement.origin] for _ in range(measurement.origin != "measured"))
    noise = (*map(flag_words, measurement.flags), *(stats.unstable(samples) if unit == "s" else ()))
    if noise:
        remarks += (f"unstable: {'; '.join(dict.fromkeys(noise))}",)
    if measurement.metric not in QUALITIES and float(values.min()) == float(values.max()):
        return Quantity(unit, float(values[0]), origin=measurement.origin, remarks=remarks)
    interval = stats.summary(measurement)
    assert interval is not None
    ends = interval.estimate, interval.low, interval.high
    return Quantity(unit, *ends, origin=measurement.origin, remarks=remarks, interval_method=interval.method)


def _by_meter(record: Record, metric: str, quantity: Quantity) -> Quantity:
    """What a meter told bears how far the meter may be believed."""
    remark = meter_remark(record, metric)
    return quantity if remark is None or quantity.value is None else quantity._replace(remarks=(*quantity.remarks, remark))


def _quality(record: Record, measured: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """The network's own metric under the name that all have in common."""
    metric = quality_metric(record)
    return {"quality": measured[metric]} if metric in measured else {}


def _compare(matrix: Matrix, placed: Mapping[Place, Record], measured: Measured) -> tuple[dict[str, Comparison], dict[str, str]]:
    ratios: dict[str, tuple[Record, stats.Ratio]] = {}
    reasons: dict[str, str] = {}
    for place, record in placed.items():
        against = _baseline(matrix, place, record, "latency", measured)
        if isinstance(against, str):
            reasons[record.id] = against
        elif against is not record:
            pair = can_be_paired(against, record, "latency")
            samples = _samples(against, "latency"), _samples(record, "latency")
            ratio = stats.ratio(*samples, pair, minimum_effect=least_effect(against, record))
            if math.isnan(ratio.estimate):
                reasons[record.id] = ratio.method.removeprefix("no ratio: ")
            else:
                ratios[record.id] = against, ratio
    q = corrected({key: ratio.p_value for key, (_, ratio) in ratios.items()})
    return {key: Comparison(base, ratio, q.get(key)) for key, (base, ratio) in ratios.items()}, reasons


def _changes(matrix: Matrix, placed: Mapping[Place, Record], measured: Measured) -> tuple[dict[str, Change], dict[str, str]]:
    differences: dict[str, tuple[float, int, float]] = {}
    reasons: dict[str, str] = {}
    for place, record in placed.items():
        metric = quality_metric(record)
        against = _baseline(matrix, place, record, metric, measured)
        if isinstance(against, str):
            reasons[record.id] = against
        elif against is not record:
            before, after = _samples(against, metric), _samples(record, metric)
            if not np.array_equal(before.label, after.label):
                reasons[record.id] = (
                    f"the baseline was judged on {len(before)} examples, this cell on {len(after)}, and they are not the same"
                )
                continue
            quality = QUALITIES[metric]
            change = quality.estimate(after) - quality.estimate(before)
            differences[record.id] = change, len(after), quality.p_value(before, after)
    q = corrected({key: p for key, (_, _, p) in differences.items()})
    return {key: Change(change, n, q[key]) for key, (change, n, _) in differences.items()}, reasons


def _baseline(matrix: Matrix, place: Place, record: Record, metric: str, measured: Measured) -> Record | str:
    """The ok record that `record` is compared with (itself when it is the baseline), or why there is no comparison."""
    base_place = matrix.baseline(place)
    if base_place is None:
        return "the suite names no baseline"
    base = matrix.records.get(base_place)
    if base is None:
        return "the baseline cell is not in this run"
    if base.status != "ok":
        return f"the baseline cell is {base.status}"
    before, after = measured[base.id].get(metric), measured[record.id].get(metric)
    if before is None or before.value is None:
        return f"the baseline has no {metric}"
    if after is None or after.value is None:
        return f"this cell has no {metric}"
    if before.origin != after.origin:
        return f"the baseline is {before.origin}, this cell is {after.origin}: the two are not compared"
    return base


def _samples(record: Record, metric: str) -> Samples:
    measurement = record.measurement(metric)
    assert measurement is not None and measurement.samples is not None
    return measurement.samples


def _claims(record: Record) -> dict[str, Quantity]:
    units = {"weight_bits": "bit", "weight_bytes": "B"}
    return {
        name: Quantity(units.get(name, "count"), float(value))
        for name, value in record.claims.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _claimed_ratios(matrix: Matrix, place: Place, record: Record) -> dict[str, Quantity]:
    base_place = matrix.baseline(place)
    base = None if base_place is None else matrix.records.get(base_place)
    quantities = {}
    for metric, claim in CLAIMED_RATIOS.items():
        before = None if base is None else base.claims.get(claim)
        after = record.claims.get(claim)
        if before and after:
            quantities[metric] = Quantity("x", float(before) / float(after))
        else:
            quantities[metric] = Quantity("x", missing=f"the baseline and this cell do not both claim {claim}")
    return quantities


def _speedup(
    matrix: Matrix,
    place: Place,
    record: Record,
    measured: Measured,
    comparisons: Mapping[str, Comparison],
    reasons: Mapping[str, str],
) -> Quantity:
    if record.id in reasons:
        return Quantity("x", missing=reasons[record.id])
    latency = measured[record.id]["latency"]
    if matrix.baseline(place) == place:
        return Quantity("x", 1.0, origin=latency.origin)
    found = comparisons[record.id]
    remarks = latency.remarks
    noisy_base = [r for r in measured[found.baseline.id]["latency"].remarks if r not in remarks]
    remarks += tuple(f"baseline {remark}" for remark in noisy_base)
    tier, base_tier = tier_of(record), tier_of(found.baseline)
    if tier and base_tier and tier != base_tier:
        remarks += (f"the clock was {tier} here and {base_tier} for the baseline",)
    ratio = found.ratio
    return Quantity("x", ratio.estimate, ratio.low, ratio.high, None, latency.origin, remarks, found.significant)


def _quality_change(
    matrix: Matrix, place: Place, record: Record, changes: Mapping[str, Change], reasons: Mapping[str, str]
) -> Quantity:
    if record.id in reasons:
        return Quantity("points", missing=reasons[record.id])
    if matrix.baseline(place) == place:
        return Quantity("points", 0.0)
    change = changes[record.id]
    return Quantity("points", change.difference, significant=change.significant)
