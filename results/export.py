"""Records in formats that other programs read: CSV (a row a metric), JSON Lines (a record a line, lossless), Parquet (a row a sample)."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import difflib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from results.record import Axes, Measurement, Record, plain
from results.stats import summary

if TYPE_CHECKING:
    import pyarrow as pa

RECORD_FIELDS = ("record_id", "run_id", "cell_key", "input_hash", "machine_key")
AXES = tuple(f.name for f in dataclasses.fields(Axes))
STATUS_FIELDS = ("status", "reason", "error_class", "started", "finished", "attempt")
METRIC_FIELDS = ("metric", "unit", "origin", "clock", "how", "missing", "flags")
STATISTICS = ("estimate", "low", "high", "level", "interval", "samples", "launches")
CSV_COLUMNS = (*RECORD_FIELDS, *AXES, *STATUS_FIELDS, *METRIC_FIELDS, *STATISTICS)
SAMPLE_FIELDS = ("value", "launch", "timed", "loops", "start_s")
ROW_GROUP = 1 << 17
_INTEGERS = {"threads", "batch", "frequency_hz", "attempt"}


def write(records: Iterable[Record], to: Path | IO[bytes], format_: str) -> None:
    """Write records to a file, which appears whole or not at all, or to a binary stream. Values are SI; nothing is rounded."""
    if format_ not in _WRITERS:
        close = difflib.get_close_matches(format_, _WRITERS, n=1)
        raise ValueError(
            f"no export format `{format_}`; there are {', '.join(_WRITERS)}{f': did you mean {close[0]}?' if close else ''}"
        )
    with contextlib.ExitStack() as stack:
        _WRITERS[format_](records, stack.enter_context(_whole(to)) if isinstance(to, Path) else to)


def csv_rows(record: Record) -> Iterator[dict[str, Any]]:
    """One row a metric; a record without any still has its row, for a failed cell is a result too."""
    about = _about(record)
    for measurement in record.measurements:
        interval = summary(measurement)
        samples = measurement.samples
        timed = None if samples is None else samples.launch[samples.timed]
        statistics = (*interval,) if interval else (None,) * 5
        counts = (0, 0) if timed is None else (len(timed), len(np.unique(timed)))
        yield about | _about_metric(measurement) | dict(zip(STATISTICS, (*statistics, *counts), strict=True))
    if not record.measurements:
        yield about


def _write_csv(records: Iterable[Record], file: IO[bytes]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
    try:
        writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
        writer.writeheader()
        for record in records:
            writer.writerows(csv_rows(record))
    finally:
        text.detach()


def _write_json(records: Iterable[Record], file: IO[bytes]) -> None:
    for record in records:
        file.write(json.dumps(record.to_json(), default=plain, separators=(",", ":")).encode() + b"\n")


def _write_parquet(records: Iterable[Record], file: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = {name: pa.string() for name in (*RECORD_FIELDS, *AXES, *STATUS_FIELDS, *METRIC_FIELDS)}
    integers = dict.fromkeys(_INTEGERS, pa.int32()) | {"frequency_hz": pa.int64()}
    columns = {
        "value": pa.float64(),
        "launch": pa.uint16(),
        "timed": pa.bool_(),
        "loops": pa.uint32(),
        "start_s": pa.float64(),
        "label": pa.int32(),
    }
    schema = pa.schema([*(text | integers).items(), *columns.items()])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(_batch(record, m, schema) for record in records for m in record.measurements or (None,)):
            writer.write_table(pa.Table.from_batches(group))


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Batches gathered into Parquet's row groups: many small ones read slowly, one big one does not fit in memory."""
    group: list[pa.RecordBatch] = []
    for batch in batches:
        group.append(batch)
        if sum(b.num_rows for b in group) >= ROW_GROUP:
            yield group
            group = []
    if group:
        yield group


def _batch(record: Record, measurement: Measurement | None, schema: pa.Schema) -> pa.RecordBatch:
    """One row a raw sample; a measurement without samples, or a record without measurements, has one row that says why."""
    import pyarrow as pa

    samples = None if measurement is None else measurement.samples
    about = _about(record) | ({} if measurement is None else _about_metric(measurement))
    length = 1 if samples is None else len(samples)
    arrays = []
    for field in schema:
        if field.name in SAMPLE_FIELDS and samples is not None:
            arrays.append(pa.array(getattr(samples, field.name), field.type))
        else:
            arrays.append(pa.repeat(pa.scalar(_utf8(about.get(field.name)), field.type), length))
    return pa.record_batch(arrays, schema=schema)


def _about(record: Record) -> dict[str, Any]:
    """The columns that all of a record's rows share."""
    ids = dict(
        zip(RECORD_FIELDS, (record.id, record.run_id, record.cell_key, record.input_hash, record.machine_key), strict=True)
    )
    return ids | dataclasses.asdict(record.axes) | {name: getattr(record, name) for name in STATUS_FIELDS}


def _about_metric(measurement: Measurement) -> dict[str, Any]:
    m = measurement
    return dict(zip(METRIC_FIELDS, (m.metric, m.unit, m.origin, m.clock, m.method, m.reason, "; ".join(m.flags)), strict=True))


def _utf8(value: Any) -> Any:
    """Text as UTF-8 can hold it: what a device printed may not be."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """Written beside `path` and then put in its place."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


_WRITERS: Mapping[str, Callable[[Iterable[Record], IO[bytes]], None]] = {
    "csv": _write_csv,
    "json": _write_json,
    "parquet": _write_parquet,
}
FORMATS = tuple(_WRITERS)
