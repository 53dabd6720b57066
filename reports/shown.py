"""The cells that a table or figure shows, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.findings import Findings
from reports.matrix import AXES, Place, label_of, spoken
from reports.strength import Strength, strengths
from results.record import Record


@dataclass(frozen=True)
class Shown:
    """Some cells of a run and their labels on every axis, the suite's and those of a method's family."""

    records: Mapping[Place, Record]
    labels: Mapping[Place, Mapping[str, str]]
    """Place -> axis -> label; beside the cell's axes its method's `family` and `strength`."""
    strengths: Mapping[str, Strength]
    """method -> its family and where it stands in it."""
    rank: Mapping[str, Mapping[str, int]]
    """axis -> label -> its place in the suite's order; strengths by size, none first."""
    swept: str
    """The parameters whose values are the strengths: `sparsity`, or `ratio, sparsity`."""

    @staticmethod
    def of(findings: Findings, only: Mapping[str, Sequence[str]]) -> Shown:
        matrix = findings.matrix
        chosen = {axis: dict.fromkeys(label_of(axis, label) for label in labels) for axis, labels in only.items()}
        models = chosen.get("model", matrix.labels["model"])
        records = {
            place: record
            for model in models
            for place, record in matrix.by_model.get(model, {}).items()
            if all(place.label(axis) in allowed for axis, allowed in chosen.items())
        }
        found = strengths(matrix.labels["method"], dict(matrix.run.document.get("defaults") or {}))
        labels = {}
        for place in records:
            strength = found[place.method]
            labels[place] = {**dict(zip(AXES, place, strict=True)), "family": strength.family, "strength": strength.label}
        ordered = {
            **matrix.labels,
            "family": tuple(dict.fromkeys(strength.family for strength in found.values())),
            "strength": tuple(s.label for s in sorted(found.values(), key=lambda s: -1e308 if s.value is None else s.value)),
        }
        rank = {axis: {label: index for index, label in enumerate(dict.fromkeys(names))} for axis, names in ordered.items()}
        swept = ", ".join(sorted({found[place.method].parameter for place in records} - {""}))
        return Shown(records, labels, found, rank, swept)

    def heads(self, axis: str, label: str) -> tuple[str, ...]:
        """What stands over the columns of a label, line by line: a bare number says what it counts."""
        if axis == "strength":
            return (self.swept, label) if label else (label,)
        return (spoken(axis, label),)

    def completed(self, rows: tuple[str, ...], columns: tuple[str, ...]) -> tuple[str, ...]:
        """The row axes, and before the last of them those that nobody named although they vary."""
        named = {*rows, *columns}
        by_family = "method" not in named and bool(named & {"family", "strength"})
        wanted = (*(axis for axis in AXES if axis != "method"), "family", "strength") if by_family else AXES
        missing = tuple(a for a in wanted if a not in named and len({labels[a] for labels in self.labels.values()}) > 1)
        return (*rows[:-1], *missing, *rows[-1:])
