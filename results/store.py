"""Store: where runs, records and their raw samples live. Append-only; one transaction a record; SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from results import quarantine, query
from results.database import Place, StoreError, connect, parse_place, prepare, reporting, revision, writer
from results.fence import StaleLease, admit, highest_token
from results.quarantine import Quarantine
from results.query import FinishedCell, Past, RunCell
from results.record import Json, PlannedCell, Record, Run
from results.rows import cell_row, record_rows, run_row
from results.schema import LAUNCHES, MEASUREMENTS, RECORDS, RUN_CELLS, RUNS, SAMPLES

__all__ = ["FinishedCell", "Quarantine", "RunCell", "StaleLease", "Store", "StoreError", "exists", "open_store"]

_PAGE = 100
"""Records held at once while all are read."""


def open_store(url: str, *, must_exist: bool = False) -> Store:
    """Open the store at a path, `sqlite:///path` or `postgresql://...`; made if absent, migrated if older, refused if newer.

    `must_exist`: StoreError in place of making one, for who only wants to read.
    """
    place = parse_place(url)
    if must_exist and not exists(url):
        raise StoreError(f"there is no store at {place.name}: name another with --store, or start one with `assay run SUITE`")
    if place.path is not None:
        try:
            place.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot make the folder of the store {place.name}: {error.strerror}. Choose another --store."
            ) from error
        if place.path.is_dir():
            raise StoreError(f"the store {place.name} is a folder: name a file in it with --store")
    engine = connect(place)
    try:
        prepare(engine, place)
    except BaseException:
        engine.dispose()
        raise
    return Store(engine, place)


def exists(url: str) -> bool:
    """Whether a store is there already; asks and makes nothing."""
    place = parse_place(url)
    if place.path is not None:
        return place.path.is_file()
    engine = connect(place)
    try:
        with reporting(place, "open"), engine.connect() as connection:
            return revision(connection) is not None
    finally:
        engine.dispose()


class Store:
    """An open store; use it in a `with`. Any number of processes may have one store open and append to it."""

    def __init__(self, engine: Engine, place: Place) -> None:
        self.place = place
        self._engine, self._writer = engine, writer(engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._engine.dispose()

    def begin_run(self, run: Run, cells: Sequence[PlannedCell]) -> None:
        """Keep a run and its cells; those whose `record_id` is set are answered by records of earlier runs."""
        refusal = f"run {run.id} is refused: it is there already, names a cell twice, or reuses a record that is not there"
        with self._writing(refusal) as connection:
            connection.execute(sa.insert(RUNS), run_row(run))
            if cells:
                connection.execute(sa.insert(RUN_CELLS), [cell_row(run.id, cell) for cell in cells])

    def append(self, record: Record) -> None:
        """Keep what a cell left behind, in one transaction: the record, its samples, the answer to the run's cell; its journal goes.

        Refused, and nothing kept: an id that is there, a cell that its run has not planned or that is answered already, and (StaleLease)
        what was measured under a lease (`provenance["device"]["lease"]`) of a device that has had a later one.
        """
        name = f"record {record.id} ({query.label(record.axes)})"
        try:
            rows = record_rows(record)
        except ValueError as error:
            raise StoreError(f"{name} cannot be kept: {error}") from error
        refusal = f"{name} is refused: it, or another record of its cell, is there already, or its run {record.run_id} is not"
        with self._writing(refusal) as connection:
            _admit(connection, record.provenance.get("device"))
            key = connection.execute(sa.insert(RECORDS), rows.record).inserted_primary_key
            assert key is not None
            for table, children in ((MEASUREMENTS, rows.measurements), (SAMPLES, rows.samples)):
                if children:
                    connection.execute(sa.insert(table), [{"record": key.number, **child} for child in children])
            cell = (RUN_CELLS.c.run_id == record.run_id) & (RUN_CELLS.c.cell_key == record.cell_key)
            answer = sa.update(RUN_CELLS).where(cell, RUN_CELLS.c.record_id.is_(None)).values(record_id=record.id)
            if connection.execute(answer).rowcount != 1:
                raise StoreError(
                    f"{name} is refused: run {record.run_id} has not planned this cell, or reuses an earlier record for it"
                )
            mine = (LAUNCHES.c.run_id == record.run_id) & (LAUNCHES.c.input_hash == record.input_hash)
            connection.execute(sa.delete(LAUNCHES).where(mine))

    def finish_run(self, run_id: str, finished: str) -> None:
        """`finished`: UTC, ISO 8601."""
        with self._writing(f"run {run_id} is refused") as connection:
            changed = connection.execute(sa.update(RUNS).where(RUNS.c.id == run_id).values(finished=finished)).rowcount
            if changed != 1:
                raise StoreError(f"run {run_id} is not in {self.place.name}: begin it first")

    def journal_launch(self, run_id: str, input_hash: str, index: int, document: Json) -> None:
        """Keep one process launch of a cell as soon as it ends. The same launch again takes the place of the first.

        StaleLease for one under a lease (`document["lease"]`) of a device that has had a later one.
        """
        key = {"run_id": run_id, "input_hash": input_hash, "launch": index}
        with self._writing(f"launch {index} is refused: its run {run_id} is not in the store") as connection:
            _admit(connection, document)
            connection.execute(sa.delete(LAUNCHES).filter_by(**key))
            connection.execute(sa.insert(LAUNCHES), {**key, "document": document})

    def fence(self, lease: Json) -> None:
        """From now on, what was measured under earlier leases of the device is refused; StaleLease if this is one of them."""
        with self._writing(f"the lease of {lease['device']} is refused") as connection:
            admit(connection, lease)

    def highest_token(self, device: str) -> int:
        """Of the leases of a device that the store knows; 0: none."""
        with self._reading() as connection:
            return highest_token(connection, device)

    def void_launches(self, run_id: str, launches: Collection[tuple[str, int]]) -> None:
        """Forget journalled launches, by input hash and index: the device was not as it should be while they ran."""
        with self._writing(f"launches of run {run_id} are refused") as connection:
            for input_hash, index in launches:
                connection.execute(sa.delete(LAUNCHES).filter_by(run_id=run_id, input_hash=input_hash, launch=index))

    def note_visit(self, target: str, fault: str | None, at: str) -> None:
        """How a visit to a device ended, at a time (UTC, ISO 8601): by a fault of the device's, or (None) well."""
        with self._writing(f"the visit to {target} is refused") as connection:
            quarantine.note_visit(connection, target, fault, at)

    def quarantined(self) -> dict[str, Quarantine]:
        """The targets that may not be touched."""
        with self._reading() as connection:
            return quarantine.quarantined(connection)

    def release(self, target: str, reason: str, at: str) -> Quarantine:
        """Let a target be used again; what it was in quarantine for."""
        with self._writing(f"the release of {target} is refused") as connection:
            return quarantine.release(connection, target, reason, at)

    def launches(self, run_id: str, input_hash: str) -> dict[int, Json]:
        """The journalled launches of a run's cell, by index."""
        with self._reading() as connection:
            return query.launches(connection, run_id, input_hash)

    def adopt_launches(self, run_id: str, input_hash: str) -> dict[int, Json]:
        """Take over what the newest other run left of a cell with the same inputs, if `run_id` has nothing of it itself; the rest goes.

        Each launch so ends in one record at most. Safe while the caller holds the cell's device (its lease, or the host's timing lock):
        launches are journalled only by who holds it, so those of others belong to runs that have ended. Whether the device is still
        as it was when they ran (same boot, same artifact) is for the caller to read in their documents.
        """
        others = (LAUNCHES.c.input_hash == input_hash) & (LAUNCHES.c.run_id != run_id)
        with self._writing(f"launches are refused: run {run_id} is not in the store") as connection:
            if not query.launches(connection, run_id, input_hash):
                newest = sa.select(RUNS.c.id).join(LAUNCHES).where(others).order_by(RUNS.c.started.desc(), RUNS.c.id).limit(1)
                left_by = connection.execute(newest).scalar()
                connection.execute(sa.update(LAUNCHES).where(others, LAUNCHES.c.run_id == left_by).values(run_id=run_id))
            connection.execute(sa.delete(LAUNCHES).where(others))
            return query.launches(connection, run_id, input_hash)

    def finished_cells(self, input_hashes: Collection[str]) -> dict[str, FinishedCell]:
        """The newest record of each input hash that has one."""
        with self._reading() as connection:
            return query.finished_cells(connection, input_hashes)

    def runs(self) -> list[Run]:
        """Newest first."""
        with self._reading() as connection:
            return query.runs_where(connection, sa.true())

    def run(self, name: str) -> Run:
        """By its id, or a beginning that no other run's id has."""
        with self._reading() as connection:
            found = query.runs_where(connection, RUNS.c.id.startswith(name, autoescape=True)) if name else []
            found = [run for run in found if run.id.startswith(name)]
            exact = [run for run in found if run.id == name] or found
            if len(exact) == 1:
                return exact[0]
            if exact:
                raise self._ambiguous("run", name, [f"{run.id} ({run.suite}, {run.started})" for run in exact])
            raise self._unknown("run", name, query.nearest_names(connection, RUNS, ["id"], name))

    def run_records(self, run_id: str) -> list[RunCell]:
        """Every cell of a run by position, each with the record that answers it."""
        with self._reading() as connection:
            return query.run_cells(connection, run_id)

    def records(self, suite: str | None = None) -> Iterator[Record]:
        """All records in order of arrival, or those that a suite's runs made; read in pages, for a store may be larger than memory."""
        last = 0
        while True:
            with self._reading() as connection:
                numbers = query.page_after(connection, last, suite, _PAGE)
                page = query.records_where(connection, RECORDS.c.number.in_(numbers))
            if not page:
                return
            yield from page
            last = numbers[-1]

    def record(self, name: str) -> Record:
        """By a record's id or a cell's key (then its newest record), or a beginning that no other has."""
        with self._reading() as connection:
            found = query.matches(connection, name) if name else []
            found = [match for match in found if name in (match.id, match.cell_key)] or found
            ids = {match.id: match for match in found if match.id.startswith(name)}
            keys = {match.cell_key: match for match in found if match.cell_key.startswith(name)}
            named = [*ids.values(), *keys.values()]
            if len({match.number for match in named}) == 1:
                return query.records_where(connection, RECORDS.c.number == named[0].number)[0]
            if named:
                raise self._ambiguous(
                    "record or cell",
                    name,
                    [f"record {m.id} ({m.label})" for m in ids.values()]
                    + [f"cell {m.cell_key} ({m.label})" for m in keys.values()],
                )
            raise self._unknown("record or cell", name, query.nearest_names(connection, RECORDS, ["id", "cell_key"], name))

    def history(self, cell_key: str, machine_key: str) -> list[Record]:
        """A Series: the records of one cell on one machine, oldest first."""
        with self._reading() as connection:
            mine = (RECORDS.c.cell_key == cell_key) & (RECORDS.c.machine_key == machine_key)
            return query.records_where(connection, mine)

    def past(self, run_id: str, metric: str) -> Iterator[Past]:
        """One metric in the history of every cell of a run, on all machines, up to the run itself; in order of arrival."""
        with self._reading() as connection:
            yield from query.past(connection, run_id, metric)

    def verify(self, record_id: str) -> bool:
        """Whether the record is what was appended: its sha256 computed from all that is stored, against the one kept beside it."""
        with reporting(self.place, "read"), self._engine.begin() as connection:
            kept: str | None = connection.execute(sa.select(RECORDS.c.sha256).where(RECORDS.c.id == record_id)).scalar()
            if kept is None:
                raise self._unknown("record", record_id, query.nearest_names(connection, RECORDS, ["id"], record_id))
            try:
                (record,) = query.records_where(connection, RECORDS.c.id == record_id)
            except ValueError:  # samples or JSON that cannot even be read
                return False
            return record.sha256() == kept

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with reporting(self.place, "read"), self._engine.begin() as connection:
                yield connection
        except ValueError as error:
            raise StoreError(
                f"a record of the store {self.place.name} was altered and cannot be read: {error}. Restore a copy of the store."
            ) from error

    @contextmanager
    def _writing(self, refusal: str) -> Iterator[Connection]:
        """One transaction. A row that the tables' own rules refuse is the caller's fault: `refusal` says what."""
        try:
            with reporting(self.place, "write to"), self._writer.begin() as connection:
                yield connection
        except StoreError as error:
            if isinstance(error.__cause__, IntegrityError):
                raise StoreError(f"{refusal}. Store {self.place.name}: {error.__cause__.orig}") from error
            raise

    def _ambiguous(self, kind: str, name: str, candidates: Sequence[str]) -> StoreError:
        more = [f"and {len(candidates) - 5} more"] if len(candidates) > 5 else []
        return StoreError(f"`{name}` may be more than one {kind}: {'; '.join([*candidates[:5], *more])}. Give more of it.")

    def _unknown(self, kind: str, name: str, near: Sequence[str]) -> StoreError:
        hint = f" Did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""
        return StoreError(f"no {kind} `{name}` in the store {self.place.name}.{hint}")


def _admit(connection: Connection, measured: Json | None) -> None:
    """What was measured without a lease (a prebuilt artifact by hand, a cell that met no device) has no fence to pass."""
    if measured and (lease := measured.get("lease")):
        admit(connection, lease)
