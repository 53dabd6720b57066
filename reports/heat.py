"""The matrix at a glance: one square a cell, coloured by speed-up where it is significant, by status where there is none."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from reports.findings import Findings
from reports.matrix import Place
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


class HeatRow(NamedTuple):
    method: str
    squares: tuple[Square, ...]


class HeatBlock(NamedTuple):
    model: str
    rows: tuple[HeatRow, ...]


class Head(NamedTuple):
    label: str
    columns: int
    """How many columns it stands over."""


class Heat(NamedTuple):
    heads: tuple[tuple[Head, ...], ...]
    """One line an axis: the backend, then each further axis that varies."""
    blocks: tuple[HeatBlock, ...]


def heat(findings: Findings) -> Heat:
    """Rows: model and method. Columns: backend, and target, threads and batch where they vary. All in the suite's order."""
    matrix = findings.matrix
    axes = ("backend", *matrix.varying(besides=("model", "method", "backend")))
    found: dict[tuple[str, str], dict[tuple[str, ...], Square]] = {}
    for place, record in matrix.records.items():
        column = tuple(place.label(axis) for axis in axes)
        found.setdefault((place.model, place.method), {})[column] = _square(findings, place, record)
    rank = {axis: {label: i for i, label in enumerate(matrix.labels[axis])} for axis in axes}
    columns = sorted(
        dict.fromkeys(column for squares in found.values() for column in squares),
        key=lambda column: tuple(rank[axis][label] for axis, label in zip(axes, column, strict=True)),
    )
    blocks = []
    for model, group in itertools.groupby(found.items(), key=lambda item: item[0][0]):
        rows = (HeatRow(method, tuple(row.get(column, Square("", "absent")) for column in columns)) for (_, method), row in group)
        blocks.append(HeatBlock(model, tuple(rows)))
    heads = tuple(tuple(_heads(columns, level, axis)) for level, axis in enumerate(axes))
    return Heat(heads, tuple(blocks))


def _heads(columns: Sequence[tuple[str, ...]], level: int, axis: str) -> Iterator[Head]:
    for above, group in itertools.groupby(columns, key=lambda column: column[: level + 1]):
        yield Head(f"{axis} {above[level]}" if axis in ("threads", "batch") else above[level], len(list(group)))


def _square(findings: Findings, place: Place, record: Record) -> Square:
    if record.status != "ok":
        return Square(record.status, record.status, record.id)
    origin = findings.quantity(record, "latency").origin
    not_measured = origin if origin not in (None, "measured") else None
    if findings.matrix.baseline(place) == place:
        return Square("1", "baseline", record.id, not_measured)
    speedup = findings.quantity(record, "speedup")
    if speedup.value is None:
        return Square("no ratio", "ok", record.id, not_measured)
    text = f"{printed(Scale('×', 1.0), speedup.value).value}×"
    if not speedup.significant:
        return Square(text, "even", record.id, not_measured)
    gain = max(speedup.value, 1 / speedup.value)
    direction = "faster" if speedup.value > 1 else "slower"
    return Square(text, f"{direction}{sum(gain >= step for step in STEPS)}", record.id, not_measured)
