"""Tables: rows ready for any renderer: order, spans, marks and notes. A renderer knows only how to draw a row."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from reports.best import Best, best_cells
from reports.energy import METERED
from reports.findings import Findings, Quantity
from reports.matrix import Place
from reports.metrics import METRICS, title_of
from reports.rounding import Printed, Scale, printed_half, printed_quantity, scale_for
from reports.shown import Shown
from results.paper import TableSpec, spec_from_json
from results.printable import printable
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
    labels: tuple[str, ...]
    """One for each of the table's column axes."""
    metric: str
    heads: tuple[str, ...]
    """What stands above the column, from the top; the last line is its own, equal ones above it are drawn as one."""
    unit: str
    """What its numbers are printed in."""

    @property
    def title(self) -> str:
        return self.heads[-1]


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
    """A status stands once over all columns of its cell; a cell without a strength once over all strengths."""


class Row(NamedTuple):
    labels: tuple[str, ...]
    entries: tuple[Entry, ...]


class Note(NamedTuple):
    mark: str
    text: str


@dataclass(frozen=True)
class Table:
    """What a renderer draws, in order. `sha256` is over the hashes of all records in it."""

    spec: TableSpec
    """What was asked for: name, caption, and how it is set in LaTeX."""
    axes: tuple[str, ...]
    """The row axes, one for each of a row's labels."""
    column_axes: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[Note, ...]
    sha256: str

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def caption(self) -> str:
        return printable(self.spec.caption)

    @property
    def has_unit_line(self) -> bool:
        """Whether units stand beneath the titles; where the metric is not the last line of the header, they stand beside it."""
        return "metric" not in self.spec.columns[:-1]

    @property
    def levels(self) -> Levels:
        return levels(self.columns)


Levels = tuple[tuple[tuple[str, int], ...], ...]
"""Header lines above the columns' own, from the top: (label, how many columns it heads), left to right."""


def levels(columns: Sequence[Column]) -> Levels:
    depths = range(len(columns[0].heads) - 1 if columns else 0)
    lines = (itertools.groupby(column.heads[: depth + 1] for column in columns) for depth in depths)
    return tuple(tuple((heads[-1], len(list(same))) for heads, same in line) for line in lines)


def paper_table(document: Mapping[str, Any], findings: Findings) -> Table:
    """A table as a suite asks for it. Axes that it forgets although they vary become further row labels: no cell is ambiguous."""
    return _table(findings, spec_from_json(TableSpec, document))


def by_method(findings: Findings, model: str) -> Table:
    """All cells of one model: measured beside claimed, methods within each backend."""
    matrix = findings.matrix
    ok = [record for record in matrix.by_model[model].values() if record.status == "ok"]
    rare = [metric for metric in (*METERED, "instructions") if any(findings.quantity(r, metric).value is not None for r in ok)]
    spec = TableSpec(
        name=f"model-{matrix.labels['model'].index(model) + 1}",
        caption=f"{model}: what each method claims, and what it gives.",
        rows=("backend", *matrix.varying(besides=("model", "backend", "method")), "method"),
        columns=(),
        metrics=(*BY_METHOD_METRICS, *rare),
        only={"model": (model,)},
        environment="sidewaystable",
    )
    return _table(findings, spec)


def _table(findings: Findings, spec: TableSpec) -> Table:
    shown = Shown.of(findings, spec.only)
    column_axes = tuple(axis for axis in spec.columns if axis != "metric")
    axes = shown.completed(spec.rows, column_axes)
    grid = _grid(shown, axes, column_axes)
    scales = _scales(findings, grid, spec)
    titles = {metric: findings.title(metric, shown.records.values()) for metric in spec.metrics}
    columns = _columns(shown, grid, column_axes, spec, scales, titles)
    if spec.sort:
        grid = _sorted(findings, grid, columns, spec.sort)
    rivals = [] if spec.bold == "none" else _rivals(grid, axes, column_axes, spec.among)
    best = best_cells(findings, rivals, spec.metrics, is_tested=spec.bold == "significant")
    notes = _Notes()
    rows = tuple(
        Row(labels, tuple(_entries(findings, cells, columns, column_axes, spec, scales, best, notes)))
        for labels, cells in grid.items()
    )
    used = sorted(findings.sha256[record.id] for cells in grid.values() for record in cells.values())
    digest = hashlib.sha256("\n".join(used).encode()).hexdigest()
    return Table(spec, axes, column_axes, columns, rows, notes.listed(), digest)


Key = tuple[str, ...]
Grid = dict[Key, dict[Key, Record]]
"""row labels -> column labels -> record."""


def _grid(shown: Shown, axes: Key, column_axes: Key) -> Grid:
    def order(place: Place) -> tuple[int, ...]:
        return tuple(shown.rank[axis][shown.labels[place][axis]] for axis in axes)

    grid: Grid = {}
    for place in sorted(shown.records, key=order):
        labels = shown.labels[place]
        row = grid.setdefault(tuple(labels[axis] for axis in axes), {})
        row[tuple(labels[axis] for axis in column_axes)] = shown.records[place]
    return grid


def _sorted(findings: Findings, grid: Grid, columns: Sequence[Column], metric: str) -> Grid:
    """Rows of one group with the best first, by the leftmost column that has the metric; those without it last."""
    keys = list(dict.fromkeys(column.labels for column in columns))
    known = METRICS.get(metric)
    sign = -1.0 if known is not None and known.better == "high" else 1.0

    def value(cells: Mapping[Key, Record]) -> float:
        found = (cells[key] for key in keys if key in cells and cells[key].status == "ok")
        values = (findings.quantity(record, metric).value for record in found)
        return next((sign * v for v in values if v is not None), float("inf"))

    group_rank = {group: n for n, group in enumerate(dict.fromkeys(row[:-1] for row in grid))}
    return dict(sorted(grid.items(), key=lambda item: (group_rank[item[0][:-1]], value(item[1]))))


def _rivals(grid: Grid, axes: Key, column_axes: Key, among: str) -> list[list[Record]]:
    """Ok cells that compete for bold: of one column, differing in one row axis alone. One that spans all strengths does not race."""
    if not axes:
        return []
    varied = axes.index(next((axis for axis in (among, "method", "family") if axis in axes), axes[-1]))
    groups: dict[tuple[object, ...], list[Record]] = {}
    for row, cells in grid.items():
        for key, record in cells.items():
            if record.status == "ok" and not _is_strengthless(key, column_axes):
                groups.setdefault((key, row[:varied], row[varied + 1 :]), []).append(record)
    return list(groups.values())


def _is_strengthless(key: Key, column_axes: Key) -> bool:
    return any(axis == "strength" and label == "" for axis, label in zip(column_axes, key, strict=True))


def _scales(findings: Findings, grid: Grid, spec: TableSpec) -> dict[str, Scale]:
    """One scale a metric, the same under every column label, so that a row can be read across."""
    scales = {}
    for metric in spec.metrics:
        found = [findings.quantity(r, metric) for cells in grid.values() for r in cells.values() if r.status == "ok"]
        unit = next((q.unit for q in found if q.unit), "")
        scale = scale_for(unit, metric, [q.value for q in found if q.value is not None]) if unit else Scale("", 1.0)
        scales[metric] = scale._replace(decimals=spec.precision[metric]) if metric in spec.precision else scale
    return scales


def _columns(
    shown: Shown,
    grid: Grid,
    column_axes: Key,
    spec: TableSpec,
    scales: Mapping[str, Scale],
    titles: Mapping[str, str],
) -> tuple[Column, ...]:
    """A column for every combination of labels that has a cell, and every metric, nested as the suite asks for."""
    keys = {key for cells in grid.values() for key in cells}
    with_strength = {key for key in keys if not _is_strengthless(key, column_axes)}
    at = spec.columns.index("metric") if "metric" in spec.columns else len(column_axes)

    def order(column: tuple[Key, str]) -> tuple[int, ...]:
        key, metric = column
        ranks = [shown.rank[axis][label] for axis, label in zip(column_axes, key, strict=True)]
        return (*ranks[:at], spec.metrics.index(metric), *ranks[at:])

    columns = []
    for key, metric in sorted(itertools.product(with_strength or keys, spec.metrics), key=order):
        unit, title = scales[metric].unit, titles[metric]
        head = f"{title} ({unit})" if unit and at < len(column_axes) else title
        heads = [shown.heads(axis, label) for axis, label in zip(column_axes, key, strict=True)]
        columns.append(Column(key, metric, tuple(itertools.chain(*heads[:at], [head], *heads[at:])), unit))
    return tuple(columns)


def _entries(
    findings: Findings,
    cells: Mapping[Key, Record],
    columns: Sequence[Column],
    column_axes: Key,
    spec: TableSpec,
    scales: Mapping[str, Scale],
    best: frozenset[Best],
    notes: _Notes,
) -> Iterator[Entry]:
    everywhere = {_bare(key, column_axes): record for key, record in cells.items() if _is_strengthless(key, column_axes)}

    def drawn_as(column: Column) -> tuple[object, ...]:
        """Neighbours that agree in this are one entry."""
        record = cells.get(column.labels)
        if record is None and (spread := everywhere.get(_bare(column.labels, column_axes))) is not None:
            return spread, column.metric if spread.status == "ok" else None
        if record is None:
            return None, column.labels
        return record, column if record.status == "ok" else None

    for (record, _), same in itertools.groupby(columns, lambda column: drawn_as(column)):
        column, *more = same
        span = 1 + len(more)
        if not isinstance(record, Record):
            yield Entry(column.metric, Printed("·"), marks=notes.mark("no such cell in this run"), span=span)
        elif record.status != "ok":
            reason = shortened(record.reason or record.error_class or "no reason was recorded")
            marks = notes.mark(f"{record.status}: {reason}")
            yield Entry(column.metric, Printed(record.status), marks=marks, status=record.status, record_id=record.id, span=span)
        else:
            quantity = findings.quantity(record, column.metric)
            is_best = Best(record.id, column.metric) in best
            yield _entry(record, column.metric, quantity, scales[column.metric], spec.interval, is_best, span, notes)


def _bare(key: Key, column_axes: Key) -> Key:
    return tuple(label for axis, label in zip(column_axes, key, strict=True) if axis != "strength")


def _entry(
    record: Record, metric: str, quantity: Quantity, scale: Scale, interval: str, best: bool, span: int, notes: _Notes
) -> Entry:
    q = quantity
    if q.value is None:
        marks = notes.mark(f"no {title_of(metric)}: {shortened(q.missing or '')}")
        return Entry(
            metric, Printed("–"), q.unit, marks=marks, status=record.status, origin=q.origin, record_id=record.id, span=span
        )
    marks = tuple(mark for remark in q.remarks for mark in _remark(remark, notes))
    if q.significant is False:
        marks += notes.mark(NOT_DISTINGUISHABLE)
    if interval == "half":
        text = printed_half(scale, q)
    else:
        text = printed_quantity(scale, q)
        text = Printed(text.value) if interval == "none" else text
    return Entry(
        metric, text, q.unit, q.value, q.low, q.high, marks, best, q.significant, record.status, q.origin, record.id, span
    )


def shortened(text: str, length: int = REASON_LENGTH) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _remark(text: str, notes: _Notes) -> tuple[str, ...]:
    """Cells are unstable for many sets of reasons; they share one note that names all of them. A baseline's own row has its reasons."""
    kind, _, reasons = text.partition(": ")
    if kind == "baseline unstable":
        return notes.mark("its baseline is unstable")
    return notes.mark(kind, reasons.split("; ")) if kind == "unstable" else notes.mark(text)


@dataclass
class _Notes:
    """Gives every distinct note a letter, in the order a reader meets them."""

    letters: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, dict[str, None]] = field(default_factory=dict)
    """Of each note, in the order they were met."""

    def mark(self, text: str, reasons: Sequence[str] = ()) -> tuple[str, ...]:
        self.reasons.setdefault(text, {}).update(dict.fromkeys(reasons))
        return (self.letters.setdefault(text, letter(len(self.letters))),)

    def listed(self) -> tuple[Note, ...]:
        return tuple(Note(mark, printable(_with_reasons(text, self.reasons[text]))) for text, mark in self.letters.items())


def _with_reasons(text: str, reasons: Mapping[str, None]) -> str:
    if not reasons:
        return text
    return f"{text}{', for one or more of these' if len(reasons) > 1 else ''}: {'; '.join(reasons)}"


def letter(index: int) -> str:
    """0 -> a, 25 -> z, 26 -> aa."""
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(ord("a") + rest) + text
    return text
