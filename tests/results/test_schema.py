"""The tables hold every field of what is kept, and JSON as text loses nothing."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from results.record import Axes, Measurement, PlannedCell, Record, Run
from results.schema import MEASUREMENTS, METADATA, RECORDS, RUN_CELLS, RUNS, JsonText


@pytest.mark.parametrize(
    ("table", "kind", "elsewhere"),
    [
        (RUNS, Run, set()),
        (RECORDS, Record, {"axes", "measurements"}),
        (RECORDS, Axes, set()),
        (RUN_CELLS, PlannedCell, {"axes"}),
        (RUN_CELLS, Axes, set()),
        (MEASUREMENTS, Measurement, {"samples"}),
    ],
)
def test_every_field_has_its_column(table: sa.Table, kind: Any, elsewhere: set[str]) -> None:
    assert {field.name for field in dataclasses.fields(kind)} - elsewhere <= set(table.c.keys())


def test_the_columns_that_are_searched_are_indexed() -> None:
    first = {(table.name, next(iter(index.columns)).name) for table in METADATA.tables.values() for index in table.indexes}
    first |= {
        (table.name, next(iter(constraint.columns)).name)
        for table in METADATA.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, (sa.UniqueConstraint, sa.PrimaryKeyConstraint))
    }
    searched = {("records", name) for name in ("id", "run_id", "cell_key", "input_hash", "machine_key")}
    assert searched | {("launches", "input_hash"), ("run_cells", "run_id"), ("runs", "suite")} <= first


@pytest.mark.parametrize("value", [{}, [], {"a": [1, None, True, 0.1]}, "\x00 \ud800 ü", 2**70, math.inf, "text"])
def test_json_text_is_ascii_and_comes_back(value: Any) -> None:
    kind, dialect = JsonText(), sqlite.dialect()
    text = kind.process_bind_param(value, dialect)
    assert text is not None and text.isascii() and "\x00" not in text
    assert kind.process_result_value(text, dialect) == value


def test_json_text_keeps_none_as_null_and_takes_what_a_hash_takes() -> None:
    kind, dialect = JsonText(), sqlite.dialect()
    assert kind.process_bind_param(None, dialect) is None and kind.process_result_value(None, dialect) is None
    assert kind.process_bind_param({"n": np.float64(0.5), "a": np.arange(2)}, dialect) == '{"n": 0.5, "a": [0, 1]}'
    assert math.isnan(kind.process_result_value(kind.process_bind_param(math.nan, dialect), dialect))
