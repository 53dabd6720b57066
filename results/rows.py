"""Records, runs and planned cells as rows of the store's tables, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import RowMapping

from results.packing import pack, unpack
from results.record import Axes, Measurement, PlannedCell, Record, Run

Row = dict[str, Any]

_AXES = tuple(f.name for f in dataclasses.fields(Axes))
_RUN = tuple(f.name for f in dataclasses.fields(Run))
_RECORD = tuple(f.name for f in dataclasses.fields(Record) if f.name not in ("axes", "measurements"))
_CELL = tuple(f.name for f in dataclasses.fields(PlannedCell) if f.name != "axes")
_MEASUREMENT = tuple(f.name for f in dataclasses.fields(Measurement) if f.name != "samples")


class RecordRows(NamedTuple):
    """One record's rows; `measurements` and `samples` still lack the record's number, which the database gives."""

    record: Row
    measurements: list[Row]
    samples: list[Row]


def run_row(run: Run) -> Row:
    return {name: getattr(run, name) for name in _RUN}


def run_from(row: RowMapping) -> Run:
    return Run(**{name: row[name] for name in _RUN})


def cell_row(run_id: str, cell: PlannedCell) -> Row:
    return {"run_id": run_id, **{name: getattr(cell, name) for name in _CELL}, **_axes_row(cell.axes)}


def cell_from(row: RowMapping) -> PlannedCell:
    return PlannedCell(**{name: row[name] for name in _CELL}, axes=_axes_from(row))


def record_rows(record: Record) -> RecordRows:
    measurements, samples = [], []
    for position, measurement in enumerate(record.measurements):
        measurements.append({"position": position, **{name: getattr(measurement, name) for name in _MEASUREMENT}})
        if measurement.samples is not None:
            samples.append({"position": position, "length": len(measurement.samples), "packed": pack(measurement.samples)})
    row = {name: getattr(record, name) for name in _RECORD}
    return RecordRows(row | _axes_row(record.axes) | {"sha256": record.sha256()}, measurements, samples)


def record_from(row: RowMapping, measurements: Iterable[RowMapping]) -> Record:
    """`measurements`: the record's, in order, each joined with its samples if it has any. ValueError for samples that were altered."""
    return Record(
        **{name: row[name] for name in _RECORD}, axes=_axes_from(row), measurements=tuple(map(_measurement_from, measurements))
    )


def _measurement_from(row: RowMapping) -> Measurement:
    values: Row = {name: row[name] for name in _MEASUREMENT}
    values |= {name: tuple(values[name]) for name in ("derived_from", "flags")}
    return Measurement(**values, samples=None if row["packed"] is None else unpack(row["packed"], row["length"]))


def _axes_row(axes: Axes) -> Row:
    return {name: getattr(axes, name) for name in _AXES}


def _axes_from(row: RowMapping) -> Axes:
    return Axes(**{name: row[name] for name in _AXES})
