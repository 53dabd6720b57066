from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable

import pytest

from reports.findings import examine
from reports.table import paper_table
from reports.text import CSV_COLUMNS, csv_text, escape_markdown, html_table, markdown
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
SPEC = {
    "name": "main", "caption": "Latency and accuracy.", "rows": ["model", "method"], "columns": "backend",
    "metrics": ["latency", "speedup", "top1", "artifact_size", "energy"],
}  # fmt: skip


def test_markdown_is_golden(smoke_records: list[Record], make_run: MakeRun, golden: Callable[[str, str], None]) -> None:
    golden("main.md", markdown(paper_table(SPEC, examine(make_run(smoke_records), smoke_records))))


def test_csv_is_golden(smoke_records: list[Record], make_run: MakeRun, golden: Callable[[str, str], None]) -> None:
    golden("main.csv", csv_text(paper_table(SPEC, examine(make_run(smoke_records), smoke_records))))


def test_every_markdown_row_has_as_many_cells_as_the_head(smoke_records: list[Record], make_run: MakeRun) -> None:
    table = paper_table(SPEC, examine(make_run(smoke_records), smoke_records))
    rows = [line for line in markdown(table).splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {1 + 2 + 10}
    assert len(rows) == 2 + 8


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", r"a\|b"),
        ("int8_ptq", "int8_ptq"),
        ("_x_", r"\_x\_"),
        ("<b>*x*", r"\<b\>\*x\*"),
        ("[a](b)", r"\[a\](b)"),
        ("line\nbreak", "line break"),
        ("`x` \\ $y$", r"\`x\` \\ \$y\$"),
    ],
)
def test_markdown_prints_any_name_and_does_nothing_else(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped


def test_csv_has_a_line_for_every_cell_and_metric_in_si_units(smoke_records: list[Record], make_run: MakeRun) -> None:
    findings = examine(make_run(smoke_records), smoke_records)
    lines = list(csv.DictReader(io.StringIO(csv_text(paper_table(SPEC, findings)))))
    assert len(lines) == 2 * 4 * 2 * 5
    assert tuple(lines[0]) == ("model", "method", "backend", *CSV_COLUMNS)
    by_id = {record.id: record for record in smoke_records}
    for line in lines:
        record = by_id[line["record"]]
        assert (record.axes.model, record.axes.method, record.axes.backend) == (line["model"], line["method"], line["backend"])
        assert line["status"] == record.status
        if record.status != "ok":
            assert line["value"] == line["printed"] == "" and line["notes"].startswith(record.status)
            continue
        quantity = findings.quantity(record, line["metric"])
        for end, number in (("value", quantity.value), ("low", quantity.low), ("high", quantity.high)):
            assert (float(line[end]) if line[end] else None) == (None if number is None else pytest.approx(number, rel=1e-11))
        assert line["unit"] == quantity.unit


def test_csv_names_cannot_become_formulas_or_lines(make_record: MakeRecord, make_run: MakeRun) -> None:
    names = ["=HYPERLINK(1)", "+1", "-1", "@x", 'a"b,c\nd']
    records = [make_record(name) for name in names]
    table = paper_table({**SPEC, "metrics": ["latency"]}, examine(make_run(records, baseline={}), records))
    lines = list(csv.DictReader(io.StringIO(csv_text(table))))
    assert [line["method"] for line in lines] == ["'=HYPERLINK(1)", "'+1", "'-1", "'@x", 'a"b,c\\nd']


def test_an_empty_table_is_a_head_alone(make_run: MakeRun) -> None:
    table = paper_table(SPEC, examine(make_run([]), []))
    assert csv_text(table).count("\n") == 1
    assert "| model | method |" in markdown(table)


def test_html_is_golden(smoke_records: list[Record], make_run: MakeRun, golden: Callable[[str, str], None]) -> None:
    golden("main.html", html_table(paper_table(SPEC, examine(make_run(smoke_records), smoke_records))))


def test_html_names_cannot_become_tags(make_record: MakeRecord, make_run: MakeRun) -> None:
    bad = "</th><script>alert('1')</script>&amp;"
    records = [make_record(bad, bad, bad, status="failed", reason=bad)]
    text = html_table(paper_table({**SPEC, "caption": bad}, examine(make_run(records), records)))
    assert "<script" not in text and text.count(html.escape(bad)) == 5
