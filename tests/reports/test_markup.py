from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from reports.findings import examine
from reports.markup import table_markup
from reports.sheets import cut
from reports.table import by_method, paper_table
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
SPEC = {"name": "main", "caption": "c", "rows": ["model", "method"], "columns": ["backend"], "metrics": ["latency", "speedup"]}


def test_every_number_names_its_record_metric_and_value(smoke_records: list[Record], make_run: MakeRun) -> None:
    findings = examine(make_run(smoke_records), smoke_records)
    by_id = {record.id: record for record in smoke_records}
    for html, is_by_row in (
        (str(table_markup(by_method(findings, "cnn"), "t", "cells/")), True),
        (str(table_markup(paper_table(SPEC, findings), "t")), False),
    ):
        found = 0
        for row in re.findall(r"<tr[^>]*>.*?</tr>", html):
            of_row = re.match(r'<tr[^>]*data-record="([^"]+)"', row)
            for cell in re.findall(r"<td[^>]*data-metric[^>]*>", row):
                of_cell = re.search(r'data-record="([^"]+)"', cell)
                assert (of_cell is None) == is_by_row
                named = of_cell or of_row
                assert named is not None
                attributes = dict(re.findall(r'data-(\w+)="([^"]*)"', cell))
                quantity = findings.quantity(by_id[named[1]], attributes["metric"])
                assert float(attributes["value"]) == pytest.approx(quantity.value, rel=1e-11)
                for end in ("low", "high"):
                    expected = getattr(quantity, end)
                    assert (end in attributes) == (expected is not None)
                    assert expected is None or float(attributes[end]) == pytest.approx(expected, rel=1e-11)
                found += 1
        assert found > 20


def test_rows_lead_to_their_cells_only_where_there_are_pages(smoke_records: list[Record], make_run: MakeRun) -> None:
    table = by_method(examine(make_run(smoke_records), smoke_records), "cnn")
    assert set(re.findall(r'href="cells/([^"]+)\.html"', table_markup(table, "t", "cells/"))) == {
        r.id for r in smoke_records if r.axes.model == "cnn"
    }
    assert "cells/" not in table_markup(table, "t")


def test_notes_of_a_cut_table_are_those_its_rows_use_lettered_anew(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(m, target=t, status="failed", reason=f"no {t}") for t in ("pc", "pi") for m in ("float32", "x")]
    table = by_method(examine(make_run(records), records), "cnn")
    pieces = cut(table, "target")
    assert [note.text for note in table.notes] == ["failed: no pc", "failed: no pi"]
    for target in ("pc", "pi"):
        html = str(table_markup(pieces[target], "t"))
        assert re.findall(r'<ul class="notes">(.*)</ul>', html) == [
            f'<li id="table-{pieces[target].name}-a"><sup>a</sup> failed: no {target}</li>'
        ]
        assert html.count(f'href="#table-{pieces[target].name}-a"') == 2


def test_columns_cover_every_row(smoke_records: list[Record], make_run: MakeRun) -> None:
    """Each row is as wide as the head, spans counted."""
    findings = examine(make_run(smoke_records), smoke_records)
    for table in (by_method(findings, "cnn"), paper_table(SPEC, findings)):
        html = str(table_markup(table, "t"))
        widths = {
            sum(int((re.search(r'colspan="(\d+)"', cell) or [0, 1])[1]) for cell in re.findall(r"<t[dh][^>]*>", row))
            for row in re.findall(r"<tr[^>]*>.*?</tr>", html)
        }
        assert widths == {len(table.axes) + len(table.columns)}


def test_hostile_names_are_only_text(make_record: MakeRecord, make_run: MakeRun) -> None:
    bad = "<img src=x onerror=alert(1)>\"'&"
    records = [make_record("float32", bad, bad), make_record(bad, bad, bad, status="failed", reason=bad)]
    html = str(table_markup(by_method(examine(make_run(records), records), bad), bad, "cells/"))
    assert "<img" not in html and 'onerror=alert(1)>"' not in html
    assert html.count("&lt;img") >= 4
