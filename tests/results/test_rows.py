"""Records as rows and back, without a database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import RowMapping

from results.record import PlannedCell, Record, Run
from results.rows import cell_from, cell_row, record_from, record_rows, run_from, run_row

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., tuple[Run, list[PlannedCell]]]


def joined(rows: Any) -> list[dict[str, Any]]:
    """As the database joins measurements with their samples."""
    packed = {row["position"]: row for row in rows.samples}
    return [{"packed": None, "length": None, **row, **packed.get(row["position"], {})} for row in rows.measurements]


def mapping(row: dict[str, Any]) -> RowMapping:
    return row  # type: ignore[return-value]


def test_a_record_is_its_rows(make_record: MakeRecord) -> None:
    record = make_record(3)
    rows = record_rows(record)
    assert record_from(mapping(rows.record), map(mapping, joined(rows))) == record
    assert rows.record["sha256"] == record.sha256()
    assert [row["position"] for row in rows.measurements] == [0, 1, 2, 3]
    assert [row["position"] for row in rows.samples] == [0, 1, 3]  # energy was not measured
    assert [row["length"] for row in rows.samples] == [200, 50, 1]


def test_damaged_samples_are_a_value_error(make_record: MakeRecord) -> None:
    rows = record_rows(make_record(3))
    rows.samples[0]["length"] = 7
    with pytest.raises(ValueError, match="do not unpack to the 7"):
        record_from(mapping(rows.record), map(mapping, joined(rows)))


def test_runs_and_cells_are_their_rows(make_record: MakeRecord, make_run: MakeRun) -> None:
    run, (cell,) = make_run([make_record(1)])
    assert run_from(mapping(run_row(run))) == run
    assert cell_from(mapping(cell_row(run.id, cell))) == cell
    assert cell_row(run.id, cell)["run_id"] == run.id
