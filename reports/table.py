"""Tables: rows ready for any renderer: order, spans, marks and notes. A renderer knows only how to draw a row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from reports.best import Best, best_cells
from reports.findings import Findings, Quantity
from reports.matrix import AXES, Place
from reports.metrics import title_of
from reports.rounding import Printed, Scale, printed_quantity, scale_for
from results.record import Origin, Record, Status

BY_METHOD_METRICS = (
    "latency",
    "speedup",
    "claimed_speedup",
    "quality",
    "quality_change",
    "artifact_size",
    "claimed_size_ratio",
    "peak_memory",
)
NOT_DISTINGUISHABLE = "not distinguishable from the baseline, at 5 % false discoveries over the whole run"
REASON_LENGTH = 300
"""Characters of a reason that a note prints; the cell's page has all of it."""


class Column(NamedTuple):
    group: str
    """Label of the column axis; empty when the table has none."""
    metric: str
    title: str
    unit: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One typed cell of a table. `value`, `low`, `high` are SI; `printed` is what a renderer shows."""

    metric: str
    printed: Printed
    unit: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    marks: tuple[str, ...] = ()
    best: bool = False
    significant: bool | None = None
    status: Status | None = None
    """None: there is no such cell in the run."""
    origin: Origin | None = None
    record_id: str | None = None
    span: int = 1
    """A status stands once over all columns of its cell."""


class Row(NamedTuple):
    labels: tuple[str, ...]
    entries: tuple[Entry, ...]


class Note(NamedTuple):
    mark: str
    text: str


@dataclass(frozen=True)
class Table:
    """What a renderer draws, in order. `sha256` is over the hashes of all records in it."""

    name: str
    caption: str
    axes: tuple[str, ...]
    """The row axes, one for each of a row's labels."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[Note, ...]
    sha256: str

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """(label of the column axis, how many columns it heads), left to right."""
        counts: dict[str, int] = {}
        for column in self.columns:
            counts[column.group] = counts.get(column.group, 0) + 1
        return tuple(counts.items())

    @property
    def has_groups(self) -> bool:
        return any(label for label, _ in self.groups)


def paper_table(spec: Mapping[str, Any], findings: Findings) -> Table:
    """A table as a suite asks for it. Axes that it forgets although they vary become further row labels: no cell is ambiguous."""
    matrix = findings.matrix
    column_axis = spec.get("columns") or None
    rows = tuple(spec["rows"])
    rows += matrix.varying(besides=(*rows, column_axis or ""))
    return _table(
        findings,
        name=str(spec["name"]),
        caption=str(spec.get("caption") or ""),
        axes=rows,
        column_axis=column_axis,
        metrics=tuple(spec["metrics"]),
        places=tuple(matrix.records),
    )


def by_method(findings: Findings, model: str) -> Table:
    """All cells of one model: measured beside claimed, methods within each backend."""
    matrix = findings.matrix
    return _table(
        findings,
        name=f"model-{matrix.labels['model'].index(model) + 1}",
        caption=f"{model}: what each method claims, and what it gives.",
        axes=("backend", *matrix.varying(besides=("model", "backend", "method")), "method"),
        column_axis=None,
        metrics=BY_METHOD_METRICS,
        places=tuple(place for place in matrix.records if place.model == model),
    )


def _table(
    findings: Findings,
    *,
    name: str,
    caption: str,
    axes: tuple[str, ...],
    column_axis: str | None,
    metrics: tuple[str, ...],
    places: Sequence[Place],
) -> Table:
    grid = _grid(findings, axes, column_axis, places)
    groups = _groups(findings, column_axis, places)
    columns, scales = _columns(findings, grid, groups, metrics)
    best = best_cells(findings, _rivals(grid, axes), metrics)
    notes = _Notes()
    rows = tuple(
        Row(labels, tuple(_entries(findings, cells, groups, metrics, scales, best, notes))) for labels, cells in grid.items()
    )
    used = sorted(findings.sha256[record.id] for cells in grid.values() for record in cells.values())
    digest = hashlib.sha256("\n".join(used).encode()).hexdigest()
    return Table(name, caption, axes, columns, rows, notes.listed(), digest)


Grid = dict[tuple[str, ...], dict[str, Record]]
"""row labels -> column label -> record."""


def _grid(findings: Findings, axes: tuple[str, ...], column_axis: str | None, places: Sequence[Place]) -> Grid:
    labels = findings.matrix.labels
    rank = {axis: {label: index for index, label in enumerate(labels[axis])} for axis in AXES}
    grid: Grid = {}
    for place in sorted(places, key=lambda p: tuple(rank[axis][p.label(axis)] for axis in axes)):
        row = tuple(place.label(axis) for axis in axes)
        grid.setdefault(row, {})[place.label(column_axis) if column_axis else ""] = findings.matrix.records[place]
    return grid


def _rivals(grid: Grid, axes: tuple[str, ...]) -> list[list[Record]]:
    """Ok cells that compete for bold: of one column, differing in method alone (without a method axis, in the last row axis)."""
    varied = axes.index("method") if "method" in axes else len(axes) - 1
    groups: dict[tuple[object, ...], list[Record]] = {}
    for row, cells in grid.items():
        for column, record in cells.items():
            if record.status == "ok":
                groups.setdefault((column, row[:varied], row[varied + 1 :]), []).append(record)
    return list(groups.values())


def _groups(findings: Findings, column_axis: str | None, places: Sequence[Place]) -> tuple[str, ...]:
    if column_axis is None:
        return ("",)
    present = {place.label(column_axis) for place in places}
    return tuple(label for label in findings.matrix.labels[column_axis] if label in present)


def _columns(
    findings: Findings, grid: Grid, groups: Sequence[str], metrics: Sequence[str]
) -> tuple[tuple[Column, ...], dict[str, Scale]]:
    """One scale a metric, the same under every column label, so that a row can be read across."""
    scales = {}
    for metric in metrics:
        found = [findings.quantity(r, metric) for cells in grid.values() for r in cells.values() if r.status == "ok"]
        unit = next((q.unit for q in found if q.unit), "")
        scales[metric] = scale_for(unit, metric, [q.value for q in found if q.value is not None]) if unit else Scale("", 1.0)
    shown = [record for cells in grid.values() for record in cells.values()]
    titles = {metric: findings.title(metric, shown) for metric in metrics}
    columns = tuple(Column(group, metric, titles[metric], scales[metric].unit) for group in groups for metric in metrics)
    return columns, scales


def _entries(
    findings: Findings,
    cells: Mapping[str, Record],
    groups: Sequence[str],
    metrics: Sequence[str],
    scales: Mapping[str, Scale],
    best: frozenset[Best],
    notes: _Notes,
) -> Iterator[Entry]:
    for group in groups if metrics else ():
        record = cells.get(group)
        if record is None:
            yield Entry(metrics[0], Printed("·"), marks=notes.mark("no such cell in this run"), span=len(metrics))
        elif record.status != "ok":
            reason = shortened(record.reason or record.error_class or "no reason was recorded")
            marks = notes.mark(f"{record.status}: {reason}")
            yield Entry(
                metrics[0], Printed(record.status), marks=marks, status=record.status, record_id=record.id, span=len(metrics)
            )
        else:
            for metric in metrics:
                quantity = findings.quantity(record, metric)
                yield _entry(record, metric, quantity, scales[metric], Best(record.id, metric) in best, notes)


def _entry(record: Record, metric: str, quantity: Quantity, scale: Scale, best: bool, notes: _Notes) -> Entry:
    q = quantity
    if q.value is None:
        marks = notes.mark(f"no {title_of(metric)}: {shortened(q.missing or '')}")
        return Entry(metric, Printed("–"), q.unit, marks=marks, status=record.status, origin=q.origin, record_id=record.id)
    marks = tuple(mark for remark in q.remarks for mark in notes.mark(remark))
    if q.significant is False:
        marks += notes.mark(NOT_DISTINGUISHABLE)
    text = printed_quantity(scale, q)
    return Entry(metric, text, q.unit, q.value, q.low, q.high, marks, best, q.significant, record.status, q.origin, record.id)


def shortened(text: str, length: int = REASON_LENGTH) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


@dataclass
class _Notes:
    """Gives every distinct note a letter, in the order a reader meets them."""

    letters: dict[str, str] = field(default_factory=dict)

    def mark(self, text: str) -> tuple[str, ...]:
        return (self.letters.setdefault(text, letter(len(self.letters))),)

    def listed(self) -> tuple[Note, ...]:
        return tuple(Note(mark, text) for text, mark in self.letters.items())


def letter(index: int) -> str:
    """0 -> a, 25 -> z, 26 -> aa."""
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(ord("a") + rest) + text
    return text
