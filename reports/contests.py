"""Contests: the methods that compete for one model, backend, target and operating point; who is fastest, and who keeps quality."""

from __future__ import annotations

from typing import NamedTuple

from reports.findings import Findings
from reports.matrix import Place
from results.record import Record


class Contest(NamedTuple):
    place: Place
    """Its method left out."""
    records: tuple[Record, ...]
    """All but the baseline."""
    fastest: Record | None
    """The greatest speed-up among those that are significantly faster than the baseline."""
    keeping: Record | None
    """The same among those whose quality is not significantly worse."""

    @property
    def could_run(self) -> bool:
        """Whether the backend has anything at all to say of this place."""
        return any(record.status != "unsupported" for record in self.records)


def contests(findings: Findings) -> tuple[Contest, ...]:
    """In the suite's order."""
    matrix = findings.matrix
    found: dict[Place, list[Record]] = {}
    for place, record in matrix.records.items():
        if not findings.is_baseline(record) and not is_part(findings, record):
            found.setdefault(place._replace(method=""), []).append(record)
    return tuple(_contest(findings, place, records) for place, records in found.items())


def network_of(record: Record) -> str:
    """The model; of a layer, the model that it was cut from."""
    return record.axes.model.removesuffix(f"/{record.axes.layer}")


def is_part(findings: Findings, record: Record) -> bool:
    """Whether it is a layer of a network that is in the run too: no answer by itself."""
    return record.axes.layer is not None and network_of(record) in findings.matrix.labels["model"]


def loses_quality(findings: Findings, record: Record) -> bool:
    change = findings.quantity(record, "quality_change")
    return change.value is not None and bool(change.significant) and change.value < 0


def _contest(findings: Findings, place: Place, records: list[Record]) -> Contest:
    compared = [(c.ratio.estimate, r) for r in records if (c := findings.comparisons.get(r.id)) is not None and c.significant]
    faster = [r for gain, r in sorted(compared, key=lambda item: -item[0]) if gain > 1]
    keeping = next((r for r in faster if not loses_quality(findings, r)), None)
    return Contest(place, tuple(records), faster[0] if faster else None, keeping)
