"""Which cell of a group is really the best: better than every other by tests that are corrected over the whole table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from reports.findings import ALPHA, Findings, can_be_paired, corrected, is_significant, least_effect, quality_metric, timed_values
from reports.metrics import METRICS
from results import stats
from results.quality import QUALITIES
from results.record import Record

_JUDGED_BY = {"speedup": "latency", "quality_change": "quality"}
"""A ratio or change orders the cells of one baseline as its own samples do."""


class Best(NamedTuple):
    record_id: str
    metric: str


class _Lead(NamedTuple):
    """The best of a group against the rival that it is hardest to tell from."""

    p: float | None
    """None: counted, not sampled, or not to be tested; nothing is left to chance."""
    ratio: stats.Ratio | None

    def is_real(self, q: float | None) -> bool:
        if self.p is None:
            return True
        return is_significant(self.ratio, q) if self.ratio is not None else q is not None and q < ALPHA


def best_cells(
    findings: Findings, groups: Iterable[Sequence[Record]], metrics: Sequence[str], *, is_tested: bool = True
) -> frozenset[Best]:
    """The cells to print in bold: at most one a group and metric; where leads are tested, none where one may be chance.

    The baseline's own ratio and change are 1 and 0 by definition: never a result, so never bold, nor is what cannot be told from them.
    """
    leads: dict[Best, _Lead] = {}
    for records in groups:
        for metric in metrics:
            first = _leader(findings, records, metric, is_tested)
            if first is not None:
                leads[Best(first[0].id, metric)] = first[1]
    q = corrected({best: lead.p for best, lead in leads.items()})
    return frozenset(best for best, lead in leads.items() if lead.is_real(q.get(best)))


def _leader(findings: Findings, records: Sequence[Record], metric: str, is_tested: bool) -> tuple[Record, _Lead] | None:
    known = METRICS.get(metric)
    if known is None or known.better is None:
        return None
    found = [(q.value, q.origin, record) for record in records if (q := findings.quantity(record, metric)).value is not None]
    if any(origin == "measured" for _, origin, _ in found):
        found = [item for item in found if item[1] == "measured"]
    if len(found) < 2 or len({origin for _, origin, _ in found}) > 1:
        return None  # numbers of different origins do not race each other
    (value, _, first), *others = sorted(found, key=lambda item: item[0], reverse=known.better == "high")
    if metric in _JUDGED_BY and (findings.is_baseline(first) or findings.quantity(first, metric).significant is False):
        return None
    if known.exact or not is_tested:
        return (first, _Lead(None, None)) if value != others[0][0] else None
    lead = _hardest(first, [record for _, _, record in others], _JUDGED_BY.get(metric, metric))
    return None if lead is None else (first, lead)


def _hardest(first: Record, others: Sequence[Record], metric: str) -> _Lead | None:
    """The best is so only if it beats every rival: the largest p of all those tests is the p of that claim (Berger 1982)."""
    hardest: _Lead | None = None
    for other in _nearest(first, others, metric) or others:
        lead = _test(first, other, metric)
        if lead is None or lead.p is None or not lead.is_real(lead.p):
            return lead
        if hardest is None or hardest.p is None or lead.p > hardest.p:
            hardest = lead
    return hardest


def _nearest(first: Record, others: Sequence[Record], metric: str) -> Sequence[Record]:
    """The rival whose test has the largest p, told by Student's t alone, which orders the p of tests over the same launches.

    None where the launches are not the same, so that all must be tested.
    """
    medians = [_log_medians(record, metric) for record in (first, *others)]
    if not medians[0] or any(m.keys() != medians[0].keys() for m in medians) or len({r.run_id for r in (first, *others)}) > 1:
        return ()
    logs = np.array([list(m.values()) for m in medians])
    apart = logs[1:] - logs[0]
    beyond = np.abs(apart.mean(axis=1)) - math.log1p(least_effect(first, *others))
    error = apart.std(axis=1, ddof=1) if apart.shape[1] > 1 else np.zeros(len(apart))
    t = np.divide(beyond, error, out=np.copysign(np.inf, beyond), where=error > 0)
    return (others[int(t.argmin())],)


def _log_medians(record: Record, metric: str) -> dict[int, float]:
    """Empty where there are none, or one is not positive."""
    measurement = None if metric in QUALITIES or metric == "quality" else record.measurement(metric)
    if measurement is None or measurement.samples is None:
        return {}
    medians = stats.launch_medians(measurement.samples)
    return {launch: math.log(m) for launch, m in medians.items()} if min(medians.values(), default=0.0) > 0 else {}


def _test(first: Record, second: Record, metric: str) -> _Lead | None:
    """None where the two cannot be told apart by any test: other examples, equal samples, a single launch."""
    name, other = (quality_metric(r) if metric == "quality" else metric for r in (first, second))
    a, b = first.measurement(name), second.measurement(other)
    if a is None or b is None or a.samples is None or b.samples is None:
        return None
    if name in QUALITIES:
        same = name == other and np.array_equal(a.samples.label, b.samples.label)
        return _Lead(QUALITIES[name].p_value(a.samples, b.samples), None) if same else None
    if {*timed_values(a.samples).tolist()} == {*timed_values(b.samples).tolist()}:
        return None
    ratio = stats.ratio(b.samples, a.samples, can_be_paired(second, first, metric), minimum_effect=least_effect(first, second))
    return None if math.isnan(ratio.estimate) or ratio.p_value is None else _Lead(ratio.p_value, ratio)
