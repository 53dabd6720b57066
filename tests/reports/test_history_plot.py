from __future__ import annotations

import dataclasses
import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from reports.findings import Findings, examine
from reports.history import History, Night, Series, Step, histories
from reports.history_plot import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MAX_LISTED,
    TOP,
    WIDTH,
    changed_cells,
    history_plot,
    plot_of_cell,
    sparkline,
    step_text,
)
from results.changes import Change
from results.query import Past
from results.record import Record, Status

Synthetic = Callable[..., Any]
MakeRecord = Callable[..., Record]


def _night(number: int, value: float | None, status: Status = "ok") -> Night:
    ends = (None, None, None) if value is None else (value, value * 0.99, value * 1.01)
    return Night(f"{number:02x}", f"2026-01-{number + 1:02d}T02:00:00Z", status, "inputs", *ends)


def _history(*machines: Sequence[float | None], steps: tuple[Step, ...] = ()) -> History:
    number = 0
    series: list[Series] = []
    for values in machines:
        nights = tuple(_night(number + k, v, "ok" if v is not None else "failed") for k, v in enumerate(values))
        number += len(values)
        series.append(Series(f"m{len(series)}", nights, steps if len(series) == 0 else ()))
    return History("s", "measured", tuple(series))


def _dots(svg: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'class="dot" d="M([\d.]+) ([\d.]+)h0', svg)]


def test_every_night_stands_in_the_frame_in_order_and_is_named() -> None:
    svg = str(history_plot(_history([1e-3, 2e-3, 1.5e-3]), "t"))
    dots = _dots(svg)
    assert [x for x, _ in dots] == sorted(x for x, _ in dots) and len(dots) == 3
    assert all(LEFT <= x <= WIDTH and TOP <= y <= HEIGHT - BOTTOM for x, y in dots)
    (_, low), (_, high), (_, middle) = dots
    assert high < middle < low, "SVG counts downwards"
    titles = [title.text for title in ET.fromstring(svg).iter("title")]
    assert titles == [
        "t",
        "2026-01-01: 1.000 ms [0.990, 1.010]",
        "2026-01-02: 2.000 ms [1.980, 2.020]",
        "2026-01-03: 1.500 ms [1.485, 1.515]",
    ]


def test_another_machine_begins_apart_in_another_colour() -> None:
    svg = str(history_plot(_history([1e-3] * 3, [2e-3] * 3), "t"))
    x = [x for x, _ in _dots(svg)]
    gaps = [b - a for a, b in itertools.pairwise(x)]
    assert gaps[2] > 2 * gaps[0]
    assert svg.count("another machine") == 1 and '<g class="l0">' in svg and '<g class="l1">' in svg
    levels = [(float(a), float(b)) for a, b in re.findall(r'class="level" d="M(\d+) [\d.]+H(\d+)"', svg)]
    assert len(levels) == 2 and levels[0][1] < levels[1][0], "no line joins the machines"


def test_a_step_is_marked_where_it_begins_and_told_in_words() -> None:
    night = _night(3, 1.1e-3)
    step = Step(Change(3, 1.1, 1.08, 1.12), night, same_inputs=True, significant=True)
    svg = str(history_plot(_history([1e-3] * 3 + [1.1e-3] * 3, steps=(step,)), "t"))
    ((_, x),) = re.findall(r'class="(step)" d="M([\d.]+) ', svg)
    at = [x for x, _ in _dots(svg)]
    assert at[2] < float(x) < at[3]
    assert "+10.0% [+8.0, +12.0], 2026-01-04" in svg
    assert len(re.findall(r'class="level"', svg)) == 2
    possible = str(history_plot(_history([1e-3] * 6, steps=(step._replace(significant=False),)), "t"))
    assert 'class="step maybe"' in possible and "possibly, 2026-01-04" in possible


def test_a_night_without_a_number_is_a_cross_with_its_status() -> None:
    svg = str(history_plot(_history([1e-3, None, 1e-3]), "t"))
    assert svg.count('class="gap"') == 1 and "2026-01-02: failed" in svg
    assert len(_dots(svg)) == 2


def test_equal_and_single_nights_are_drawn() -> None:
    assert len(_dots(str(history_plot(_history([1e-3] * 4), "t")))) == 4
    assert len(_dots(str(history_plot(_history([1e-3]), "t")))) == 1
    ET.fromstring(str(sparkline(_history([1e-3]))))


def test_the_title_is_escaped() -> None:
    assert "<title>&lt;b&gt;</title>" in str(history_plot(_history([1e-3, 1e-3]), "<b>"))


def test_a_sparkline_has_a_dot_a_night_and_a_line_a_level() -> None:
    svg = str(sparkline(_history([1e-3] * 3, [2e-3] * 4)))
    assert svg.count("h0") == 7 and svg.count('class="level"') == 2


def test_a_change_without_an_interval_has_none() -> None:
    step = Step(Change(3, 0.5, None, None), _night(3, 1e-3), same_inputs=True, significant=True)
    assert step_text(step) == "−50%"


@pytest.fixture(scope="module")
def nightly(synthetic: Synthetic, past_of: Callable[[Record], Past]) -> tuple[Any, Findings]:
    truth = synthetic(1, 30)
    past = [past_of(record) for records in truth.records for record in records]
    return truth, dataclasses.replace(examine(truth.runs[-1], truth.records[-1]), histories=histories(past))


def test_the_list_names_the_planted_changes_and_the_new_machine(nightly: tuple[Any, Findings]) -> None:
    truth, findings = nightly
    found = changed_cells(findings)
    assert found is not None
    assert {one.record.cell_key for one in found.shown} == set(truth.changes)
    assert all(one.record.run_id == truth.runs[-1].id for one in found.shown), "links lead to this run's pages"
    assert found.moved == (("pi4", "2026-01-16"),)
    assert (found.nights, found.more) == (30, 0)
    assert found.cells == sum(len(history.series) > 0 for history in findings.histories.values())


def test_cells_of_other_runs_and_single_nights_are_not_listed(
    make_record: MakeRecord, past_of: Callable[[Record], Past], make_run: Any
) -> None:
    record = make_record()
    single = dataclasses.replace(examine(make_run([record]), [record]), histories=histories([past_of(record)]))
    assert changed_cells(single) is None and plot_of_cell(single, record) is None
    other = past_of(record)._replace(cell_key="other")
    foreign = dataclasses.replace(single, histories=histories([other, other]))
    assert changed_cells(foreign) is None and plot_of_cell(foreign, record) is None


def test_a_long_list_is_cut_and_says_so(make_record: MakeRecord, past_of: Callable[[Record], Past], make_run: Any) -> None:
    records = [make_record(f"method{k}") for k in range(MAX_LISTED + 3)]
    nights = []
    for record in records:
        base = past_of(record)
        assert base.samples is not None
        for n in range(20):
            factor = (1.0 if n < 10 else 1.5) * (1 + 1e-4 * (7 * n % 5))
            samples = dataclasses.replace(base.samples, value=base.samples.value * factor)
            nights.append(base._replace(started=f"2026-01-{n + 1:02d}T00:00:00Z", samples=samples))
    found = changed_cells(dataclasses.replace(examine(make_run(records), records), histories=histories(nights)))
    assert found is not None
    assert (len(found.shown), found.more) == (MAX_LISTED, 3)
