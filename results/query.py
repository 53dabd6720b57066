"""Questions to the store's tables, each over an open connection; the answers are records, never rows."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, RowMapping

from results.packing import unpack
from results.record import Axes, Json, Origin, PlannedCell, Record, Run, Samples, Status
from results.rows import cell_from, record_from, run_from
from results.schema import LAUNCHES, MEASUREMENTS, RECORDS, RUN_CELLS, RUNS, SAMPLES

T = TypeVar("T")

_CHUNK = 500
"""Keys a query: SQLite bounds the parameters of one statement."""
_RECENT = 2000
"""Newest names among which the nearest to an unknown one is looked for."""


class FinishedCell(NamedTuple):
    """The newest record of an input hash."""

    record_id: str
    status: Status


class RunCell(NamedTuple):
    """One cell of a run and the record that answers it: the run's own, or one reused from an earlier run; None: not yet."""

    cell: PlannedCell
    record: Record | None


class Past(NamedTuple):
    """What one record of a cell says of one metric: a point of the cell's history."""

    record_id: str
    cell_key: str
    machine_key: str
    input_hash: str
    started: str
    status: Status
    unit: str | None
    """None, as the next two, where the record has no such measurement."""
    origin: Origin | None
    samples: Samples | None


class Match(NamedTuple):
    """A record whose id or cell key begins with what was asked for."""

    number: int
    id: str
    cell_key: str
    label: str


def records_where(connection: Connection, condition: ColumnElement[bool]) -> list[Record]:
    """Whole records in order of arrival. ValueError for one whose samples or JSON were altered."""
    rows = connection.execute(sa.select(RECORDS).where(condition).order_by(RECORDS.c.number)).mappings().all()
    parts = _measurements(connection, [row["number"] for row in rows])
    return [record_from(row, parts[row["number"]]) for row in rows]


def page_after(connection: Connection, number: int, suite: str | None, size: int) -> list[int]:
    """Numbers of the next `size` records after `number`; `suite`: only those that its runs made."""
    query = sa.select(RECORDS.c.number).where(RECORDS.c.number > number).order_by(RECORDS.c.number).limit(size)
    if suite is not None:
        query = query.join(RUNS).where(RUNS.c.suite == suite)
    return list(connection.execute(query).scalars())


def finished_cells(connection: Connection, input_hashes: Collection[str]) -> dict[str, FinishedCell]:
    columns = RECORDS.c.input_hash, RECORDS.c.id, RECORDS.c.status
    found: dict[str, FinishedCell] = {}
    for chunk in _chunks(list(input_hashes)):
        query = sa.select(*columns).where(RECORDS.c.input_hash.in_(chunk)).order_by(RECORDS.c.number)
        found |= {key: FinishedCell(id_, status) for key, id_, status in connection.execute(query)}
    return found


def runs_where(connection: Connection, condition: ColumnElement[bool]) -> list[Run]:
    """Newest first."""
    query = sa.select(RUNS).where(condition).order_by(RUNS.c.started.desc(), RUNS.c.id)
    return [run_from(row) for row in connection.execute(query).mappings()]


def run_cells(connection: Connection, run_id: str) -> list[RunCell]:
    """A run's cells by position, each with its record."""
    query = sa.select(RUN_CELLS).where(RUN_CELLS.c.run_id == run_id).order_by(RUN_CELLS.c.position, RUN_CELLS.c.cell_key)
    cells = [cell_from(row) for row in connection.execute(query).mappings()]
    records: dict[str | None, Record] = {}
    for chunk in _chunks([cell.record_id for cell in cells if cell.record_id is not None]):
        records |= {record.id: record for record in records_where(connection, RECORDS.c.id.in_(chunk))}
    return [RunCell(cell, records.get(cell.record_id)) for cell in cells]


def past(connection: Connection, run_id: str, metric: str) -> Iterator[Past]:
    """All records of a run's cells on any machine, up to the run's newest, in order of arrival: provenance is not read."""
    cells = sa.select(RUN_CELLS.c.cell_key).where(RUN_CELLS.c.run_id == run_id)
    answers = sa.select(RUN_CELLS.c.record_id).where(RUN_CELLS.c.run_id == run_id)
    newest = sa.select(sa.func.max(RECORDS.c.number)).where(RECORDS.c.id.in_(answers)).scalar_subquery()
    measured = RECORDS.outerjoin(MEASUREMENTS, (MEASUREMENTS.c.record == RECORDS.c.number) & (MEASUREMENTS.c.metric == metric))
    joined = measured.outerjoin(SAMPLES, (SAMPLES.c.record == RECORDS.c.number) & (SAMPLES.c.position == MEASUREMENTS.c.position))
    identity = [RECORDS.c[name] for name in ("id", "cell_key", "machine_key", "input_hash", "started", "status")]
    query = (
        sa.select(RECORDS.c.number, SAMPLES.c.length, SAMPLES.c.packed, *identity, MEASUREMENTS.c.unit, MEASUREMENTS.c.origin)
        .select_from(joined)
        .where(RECORDS.c.cell_key.in_(cells), RECORDS.c.number <= newest)
        .order_by(RECORDS.c.number, MEASUREMENTS.c.position)
    )
    last = None
    with connection.execute(query.execution_options(yield_per=_CHUNK)) as rows:
        for number, length, packed, *stored in rows:
            if number != last:  # of measurements of one metric the first counts, as in `Record.measurement`
                yield Past._make((*stored, None if packed is None else unpack(packed, length)))
            last = number


def launches(connection: Connection, run_id: str, input_hash: str) -> dict[int, Json]:
    query = sa.select(LAUNCHES.c.launch, LAUNCHES.c.document).order_by(LAUNCHES.c.launch)
    rows = connection.execute(query.where(LAUNCHES.c.run_id == run_id, LAUNCHES.c.input_hash == input_hash))
    return {row.launch: row.document for row in rows}


def matches(connection: Connection, prefix: str) -> list[Match]:
    """Records whose id or cell key begins with `prefix`, in order of arrival."""
    axes = RECORDS.c.model, RECORDS.c.method, RECORDS.c.backend, RECORDS.c.target
    begins = RECORDS.c.id.startswith(prefix, autoescape=True) | RECORDS.c.cell_key.startswith(prefix, autoescape=True)
    rows = connection.execute(
        sa.select(RECORDS.c.number, RECORDS.c.id, RECORDS.c.cell_key, *axes).where(begins).order_by(RECORDS.c.number)
    )
    found = [Match(number, id_, key, ", ".join(labels)) for number, id_, key, *labels in rows]
    return [match for match in found if match.id.startswith(prefix) or match.cell_key.startswith(prefix)]  # LIKE ignores case


def nearest_names(connection: Connection, table: sa.Table, columns: Sequence[str], prefix: str) -> list[str]:
    """Up to three names among the newest rows that an unknown beginning may have been meant for."""
    newest = table.c.number if "number" in table.c else table.c.started
    query = sa.select(*(table.c[name] for name in columns)).order_by(newest.desc()).limit(_RECENT)
    names = [name for row in connection.execute(query) for name in row]
    begins = {name[: len(prefix)]: name for name in reversed(names)}
    return [begins[near] for near in difflib.get_close_matches(prefix, begins, n=3)]


def label(axes: Axes) -> str:
    """The axes in a message."""
    return ", ".join((axes.model, axes.method, axes.backend, axes.target))


def _measurements(connection: Connection, numbers: Sequence[int]) -> dict[int, list[RowMapping]]:
    """The measurements of each record in order, each joined with its packed samples."""
    joined = MEASUREMENTS.outerjoin(SAMPLES)
    parts: dict[int, list[RowMapping]] = defaultdict(list)
    for chunk in _chunks(numbers):
        query = sa.select(MEASUREMENTS, SAMPLES.c.length, SAMPLES.c.packed).select_from(joined)
        ordered = query.where(MEASUREMENTS.c.record.in_(chunk)).order_by(MEASUREMENTS.c.record, MEASUREMENTS.c.position)
        for row in connection.execute(ordered).mappings():
            parts[row["record"]].append(row)
    return parts


def _chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
