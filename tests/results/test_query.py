"""Questions over a connection that `test_store.py` does not reach: many keys, names that are near."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from results import query
from results.record import PlannedCell, Record, Run
from results.schema import RECORDS, RUNS
from results.store import open_store

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., tuple[Run, list[PlannedCell]]]
RECORDS_KEPT = 1203
"""More than two chunks."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("query") / "store.db"


@pytest.fixture
def connection(path: Path, make_record: MakeRecord, make_run: MakeRun) -> Iterator[Connection]:
    """A store with many small records, made once."""
    with open_store(str(path)) as store:
        if not store.runs():
            records = [make_record(i, measurements=(), provenance={}) for i in range(RECORDS_KEPT)]
            store.begin_run(*make_run(records))
            for record in records:
                store.append(record)
        with store._engine.begin() as connection:
            yield connection


def test_a_hundred_thousand_hashes_are_looked_up(connection: Connection) -> None:
    hashes = [f"{i:04x}input" for i in range(100_000)]
    found = query.finished_cells(connection, hashes)
    assert list(found) == hashes[:RECORDS_KEPT]
    assert found["0007input"] == ("0007-record-of-run-1", "ok")


def test_run_cells_come_with_their_records_across_chunks(connection: Connection) -> None:
    cells = query.run_cells(connection, "run-1")
    assert [cell.position for cell, _ in cells] == list(range(RECORDS_KEPT))
    assert all(record is not None and record.cell_key == cell.cell_key for cell, record in cells)


def test_pages_follow_each_other(connection: Connection) -> None:
    first = query.page_after(connection, 0, "smoke", 1000)
    second = query.page_after(connection, first[-1], "smoke", 1000)
    assert len(first) == 1000 and len(second) == RECORDS_KEPT - 1000
    assert query.page_after(connection, second[-1], "smoke", 1000) == []
    assert query.page_after(connection, 0, "other", 1000) == []


def test_lookups_use_their_index(connection: Connection) -> None:
    for condition, index in (
        (RECORDS.c.input_hash == "x", "ix_records_input_hash"),
        ((RECORDS.c.cell_key == "x") & (RECORDS.c.machine_key == "y"), "ix_records_cell_key"),
        (RECORDS.c.run_id == "x", "sqlite_autoindex_records"),
    ):
        statement = sa.select(RECORDS).where(condition).compile(connection, compile_kwargs={"literal_binds": True})
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}").all()
        assert index in str(plan)


def test_near_names_are_found_by_their_beginning(connection: Connection) -> None:
    assert "0123-record-of-run-1" in query.nearest_names(connection, RECORDS, ["id", "cell_key"], "0x123-rec")
    assert query.nearest_names(connection, RUNS, ["id"], "rum-1") == ["run-1"]
    assert query.nearest_names(connection, RUNS, ["id"], "nothing like it") == []
