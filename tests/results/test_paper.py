from __future__ import annotations

import dataclasses
import json

import pytest

from results.paper import CELL_AXES, COLUMN_AXES, LAYOUTS, FigureSpec, TableSpec, spec_from_json
from results.record import Axes


def test_the_axes_are_those_of_a_cell() -> None:
    assert {*CELL_AXES} == {field.name for field in dataclasses.fields(Axes)} - {"layer"}


def test_a_spec_comes_back_from_what_is_stored_with_a_run() -> None:
    table = TableSpec("t", columns=("metric", "strength"), only={"method": ("a", "b")}, precision={"latency": 2})
    assert spec_from_json(TableSpec, json.loads(json.dumps(dataclasses.asdict(table)))) == table
    figure = FigureSpec("f", "sweep", only={"model": ("m",)}, panels=("backend",), width=4.5, height=2.0)
    assert spec_from_json(FigureSpec, json.loads(json.dumps(dataclasses.asdict(figure)))) == figure


def test_a_lone_name_stands_for_a_list_of_one() -> None:
    assert spec_from_json(TableSpec, {"name": "t", "columns": "target"}).columns == ("target",)


def test_widths_are_inches() -> None:
    assert [FigureSpec("f", "sweep", width=width).width_in for width in ("single", "double", 5.0)] == [3.3, 7.0, 5.0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_a_table(layout: str) -> None:
    spec = spec_from_json(TableSpec, {"name": "t", **LAYOUTS[layout]})
    assert {*spec.rows, *spec.columns} <= {*COLUMN_AXES} and spec.metrics
