"""The matrix at a glance: one square a cell, coloured by speed-up where it is significant, by status where there is none."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from reports.contests import Contest
from reports.findings import Findings
from reports.matrix import Place, spoken
from reports.rounding import Scale, printed
from results.record import Record

STEPS = (1.25, 2.0, 4.0)
"""Where the colour deepens, in either direction."""


class Square(NamedTuple):
    text: str
    shade: str
    """`faster0` ... `faster3`, `slower0` ... `slower3`, `even` (not distinguishable), `baseline`, `ok` (no ratio), a status, or `absent`."""
    record_id: str | None = None
    not_measured: str | None = None
    """`simulated`, `emulated` or `estimated`."""
    method: str = ""
    """Named where the row does not name it."""
    speedup: float | None = None
    """What `text` prints, where it prints a ratio."""


class HeatRow(NamedTuple):
    label: str
    squares: tuple[Square, ...]


class HeatBlock(NamedTuple):
    model: str
    """Empty where the rows are models."""
    rows: tuple[HeatRow, ...]


class Head(NamedTuple):
    label: str
    columns: int
    """How many columns it stands over."""


class Heat(NamedTuple):
    axes: tuple[str, ...]
    """What a column is: the backend, then each further axis that varies."""
    columns: tuple[tuple[str, ...], ...]
    heads: tuple[tuple[Head, ...], ...]
    """One line an axis."""
    origins: tuple[str | None, ...]
    """Of each column, how its times came about where none is measured."""
    blocks: tuple[HeatBlock, ...]


def heat(findings: Findings, is_shown: Callable[[Place], bool] = lambda _: True) -> Heat:
    """Rows: model and method. Columns: backend, and target, threads and batch where they vary. All in the suite's order."""
    squares = {place: _square(findings, place, record) for place, record in findings.matrix.records.items() if is_shown(place)}
    return _arranged(findings, squares, lambda place: (place.model, place.method))


def winners(findings: Findings, found: Iterable[Contest]) -> Heat:
    """The fastest method that keeps its quality, for every model (a row) on every backend and device (a column)."""
    squares = {}
    for contest in found:
        best = contest.keeping
        if not contest.could_run:
            squares[contest.place] = Square("unsupported", "unsupported", contest.records[0].id)
        elif best is None and not any(record.id in findings.comparisons for record in contest.records):
            squares[contest.place] = Square("no ratio", "ok", not_measured=_not_measured(findings, contest.records))
        elif best is None:
            squares[contest.place] = Square("none is faster", "even", not_measured=_not_measured(findings, contest.records))
        else:
            squares[contest.place] = _square(findings, contest.place, best)._replace(method=best.axes.method)
    return _arranged(findings, squares, lambda place: ("", place.model))


def _arranged(findings: Findings, squares: Mapping[Place, Square], row_of: Callable[[Place], tuple[str, str]]) -> Heat:
    """Squares in rows: (block, row) by place; a place without one is left blank."""
    matrix = findings.matrix
    axes = ("backend", *matrix.varying(besides=("model", "method", "backend")))
    found: dict[tuple[str, str], dict[tuple[str, ...], Square]] = {}
    for place, square in squares.items():
        found.setdefault(row_of(place), {})[tuple(place.label(axis) for axis in axes)] = square
    rank = {axis: {label: i for i, label in enumerate(matrix.labels[axis])} for axis in axes}
    columns = sorted(
        dict.fromkeys(column for row in found.values() for column in row),
        key=lambda column: tuple(rank[axis][label] for axis, label in zip(axes, column, strict=True)),
    )
    blocks = []
    for model, group in itertools.groupby(found.items(), key=lambda item: item[0][0]):
        rows = (HeatRow(label, tuple(row.get(column, Square("", "absent")) for column in columns)) for (_, label), row in group)
        blocks.append(HeatBlock(model, tuple(rows)))
    heads = tuple(tuple(_heads(columns, level, axis)) for level, axis in enumerate(axes))
    origins = tuple(_origin([row[column] for row in found.values() if column in row]) for column in columns)
    return Heat(axes, tuple(columns), heads, origins, tuple(blocks))


def _origin(squares: Iterable[Square]) -> str | None:
    origins = {
        square.not_measured for square in squares if square.shade in ("baseline", "even", "ok") or square.shade[-1].isdigit()
    }
    return origins.pop() if len(origins) == 1 else None


def _heads(columns: Sequence[tuple[str, ...]], level: int, axis: str) -> Iterator[Head]:
    for above, group in itertools.groupby(columns, key=lambda column: column[: level + 1]):
        yield Head(spoken(axis, above[level]), len(list(group)))


def _square(findings: Findings, place: Place, record: Record) -> Square:
    if record.status != "ok":
        return Square(record.status, record.status, record.id)
    not_measured = _not_measured(findings, [record])
    if findings.matrix.baseline(place) == place:
        return Square("1", "baseline", record.id, not_measured, speedup=1.0)
    speedup = findings.quantity(record, "speedup")
    if speedup.value is None:
        return Square("no ratio", "ok", record.id, not_measured)
    text = f"{printed(Scale('×', 1.0), speedup.value).value}×"
    if not speedup.significant:
        return Square(text, "even", record.id, not_measured, speedup=speedup.value)
    gain = max(speedup.value, 1 / speedup.value)
    direction = "faster" if speedup.value > 1 else "slower"
    shade = f"{direction}{sum(gain >= step for step in STEPS)}"
    return Square(text, shade, record.id, not_measured, speedup=speedup.value)


def _not_measured(findings: Findings, records: Iterable[Record]) -> str | None:
    """How the times of one place came about, where they are not measured."""
    found = (findings.quantity(record, "latency").origin for record in records if record.status == "ok")
    origin = next(filter(None, found), None)
    return None if origin == "measured" else origin
