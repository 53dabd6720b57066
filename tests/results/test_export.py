"""Exports are read back with other programs' readers."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from results import export, stats
from results.record import Measurement, Record, Samples, record_from_json

MakeRecord = Callable[..., Record]


@pytest.fixture
def records(make_record: MakeRecord) -> list[Record]:
    return [
        make_record(0),
        make_record(1, status="failed", reason='it said "no",\nand \ud800', error_class="BuildError", measurements=()),
    ]


def written(records: list[Record], format_: str) -> bytes:
    stream = io.BytesIO()
    export.write(iter(records), stream, format_)
    assert not stream.closed  # whoever opened it closes it
    return stream.getvalue()


def test_csv_has_a_row_a_metric_and_one_for_a_cell_without_any(records: list[Record]) -> None:
    rows = list(csv.DictReader(io.StringIO(written(records, "csv").decode(), newline="")))
    assert tuple(rows[0]) == export.CSV_COLUMNS
    assert [(row["model"], row["metric"]) for row in rows] == [
        ("model0", "latency"), ("model0", "top1"), ("model0", "energy"), ("model0", "throughput"), ("model1", ""),
    ]  # fmt: skip
    latency, top1, energy, throughput, failed = rows
    measured = records[0].measurements[0].samples
    assert measured is not None
    interval = stats.median_interval(measured)
    assert [float(latency[name]) for name in ("estimate", "low", "high", "level")] == list(interval[:4])  # not rounded
    assert (latency["interval"], latency["unit"], latency["flags"]) == (interval.method, "s", "throttled")
    assert (latency["samples"], latency["launches"], latency["layer"]) == ("180", "5", "conv1")
    assert "Wilson" in top1["interval"] and top1["samples"] == "50"
    assert (energy["estimate"], energy["low"], energy["samples"]) == ("", "", "0") and energy["missing"].startswith("no meter")
    assert (throughput["estimate"], throughput["low"], throughput["high"]) == ("1000.0", "", "")
    assert failed["status"] == "failed" and failed["reason"] == 'it said "no",\nand \\ud800' and failed["estimate"] == ""


def test_json_lines_lose_nothing(records: list[Record]) -> None:
    lines = written(records, "json").splitlines()
    assert [record_from_json(json.loads(line)) for line in lines] == records
    assert [record_from_json(json.loads(line)).sha256() for line in lines] == [record.sha256() for record in records]


def test_parquet_has_a_row_a_sample_and_one_where_there_is_none(records: list[Record]) -> None:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(written(records, "parquet"))).to_pylist()
    assert len(rows) == 200 + 50 + 1 + 1 + 1
    latency = [row for row in rows if row["metric"] == "latency"]
    samples = records[0].measurements[0].samples
    assert samples is not None
    for name in export.SAMPLE_FIELDS:
        assert np.array_equal([row[name] for row in latency], getattr(samples, name))
    assert {(row["threads"], row["layer"], row["unit"], row["clock"]) for row in latency} == {
        (2, "conv1", "s", "CLOCK_MONOTONIC")
    }
    (energy,) = [row for row in rows if row["metric"] == "energy"]
    assert energy["value"] is None and energy["missing"].startswith("no meter")
    assert rows[-1]["status"] == "failed" and rows[-1]["metric"] is None and rows[-1]["reason"].endswith("\\ud800")
    assert math.isnan(next(row["start_s"] for row in rows if row["metric"] == "top1"))


def test_parquet_row_groups_are_bounded(records: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROW_GROUP", 210)
    file = pq.ParquetFile(io.BytesIO(written(records * 2, "parquet")))
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [250, 253, 3]


@pytest.mark.parametrize("format_", export.FORMATS)
def test_nothing_to_export_is_a_valid_file(format_: str) -> None:
    content = written([], format_)
    if format_ == "csv":
        assert content.decode().strip().split(",") == list(export.CSV_COLUMNS)
    elif format_ == "json":
        assert content == b""
    else:
        assert pq.read_table(io.BytesIO(content)).num_rows == 0


@pytest.mark.parametrize("format_", export.FORMATS)
def test_a_file_is_whole_or_not_there(format_: str, tmp_path: Path, records: list[Record]) -> None:
    def failing() -> Any:
        yield records[0]
        raise RuntimeError("the store went away")

    path = tmp_path / "out"
    with pytest.raises(RuntimeError, match="went away"):
        export.write(failing(), path, format_)
    assert list(tmp_path.iterdir()) == []
    export.write(records, path, format_)
    assert path.read_bytes() == written(records, format_)
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_formats_are_refused_with_the_nearest(records: list[Record]) -> None:
    with pytest.raises(ValueError, match=r"no export format `parket`; there are csv, json, parquet: did you mean parquet\?"):
        written(records, "parket")


def test_warmup_alone_leaves_no_estimate(make_record: MakeRecord) -> None:
    cold = Samples(np.ones(1), np.zeros(1, np.uint16), np.zeros(1, np.bool_), np.ones(1, np.uint32), np.zeros(1))
    record = make_record(0, measurements=(Measurement("latency", "s", "measured", "clock", cold),))
    (row,) = export.csv_rows(record)
    assert row["estimate"] is None and row["samples"] == 0
