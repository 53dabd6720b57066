"""Which cell of a group is really the best: better than the next one by a test that is corrected over the whole table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from reports.findings import ALPHA, Findings, can_be_paired, corrected, is_significant, quality_metric, timed_values
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
    """The best of a group against the runner-up."""

    p: float | None
    """None: counted, not sampled; nothing is left to chance."""
    ratio: stats.Ratio | None

    def is_real(self, q: float | None) -> bool:
        if self.p is None:
            return True
        return is_significant(self.ratio, q) if self.ratio is not None else q is not None and q < ALPHA


def best_cells(findings: Findings, groups: Iterable[Sequence[Record]], metrics: Sequence[str]) -> frozenset[Best]:
    """The cells to print in bold: at most one a group and metric, none where the lead may be chance.

    The baseline's own ratio and change are 1 and 0 by definition: never a result, so never bold.
    """
    leads: dict[Best, _Lead] = {}
    for records in groups:
        for metric in metrics:
            first = _leader(findings, records, metric)
            if first is not None:
                leads[Best(first[0].id, metric)] = first[1]
    q = corrected({best: lead.p for best, lead in leads.items()})
    return frozenset(best for best, lead in leads.items() if lead.is_real(q.get(best)))


def _leader(findings: Findings, records: Sequence[Record], metric: str) -> tuple[Record, _Lead] | None:
    known = METRICS.get(metric)
    if known is None or known.better is None:
        return None
    found = [(q.value, q.origin, record) for record in records if (q := findings.quantity(record, metric)).value is not None]
    if any(origin == "measured" for _, origin, _ in found):
        found = [item for item in found if item[1] == "measured"]
    if len(found) < 2 or len({origin for _, origin, _ in found}) > 1:
        return None  # numbers of different origins do not race each other
    (value, _, first), (next_value, _, second), *_ = sorted(found, key=lambda item: item[0], reverse=known.better == "high")
    if metric in _JUDGED_BY and findings.is_baseline(first):
        return None
    if known.exact:
        return (first, _Lead(None, None)) if value != next_value else None
    lead = _test(first, second, _JUDGED_BY.get(metric, metric))
    return None if lead is None else (first, lead)


def _test(first: Record, second: Record, metric: str) -> _Lead | None:
    name, other = (quality_metric(r) if metric == "quality" else metric for r in (first, second))
    a, b = first.measurement(name), second.measurement(other)
    if a is None or b is None or a.samples is None or b.samples is None:
        return None
    if name in QUALITIES:
        same = name == other and np.array_equal(a.samples.label, b.samples.label)
        return _Lead(QUALITIES[name].p_value(a.samples, b.samples), None) if same else None
    if {*timed_values(a.samples).tolist()} == {*timed_values(b.samples).tolist()}:
        return None
    ratio = stats.ratio(b.samples, a.samples, can_be_paired(second, first, metric))
    return None if math.isnan(ratio.estimate) else _Lead(ratio.p_value, ratio)
