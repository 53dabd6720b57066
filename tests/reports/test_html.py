from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from harness.suite import Sampling
from reports import html
from reports.cell import cell_page
from reports.contests import contests
from reports.findings import Findings, examine
from reports.page import breakable
from reports.report import draw, write_report
from reports.sheets import cut_into_sheets, pages_of
from reports.table import by_method, paper_table
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
SPEC = {"name": "main", "caption": "c", "rows": ["model", "method"], "columns": "backend", "metrics": ["latency", "speedup"]}
BAD = "<script>alert(1)</script>\"'&</title>../{{7*7}}{% x %}"


class _Page(HTMLParser):
    """Tags, attributes and the text that is seen."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "link", "br", "wbr", "img", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes <{self.open[-1:]}>"
        self.open.pop()
        if tag in ("li", "dt", "dd", "td", "th", "p", "h1", "h2", "h3"):
            self.seen.append(" ")

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.seen.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.seen).split())


def _index(findings: Findings) -> str:
    tables = [by_method(findings, model) for model in findings.matrix.labels["model"]]
    return html.index_page(
        findings, contests(findings), cut_into_sheets(findings, tables), (), [paper_table(SPEC, findings)], list(draw(findings))
    )


def _cells(findings: Findings) -> list[str]:
    return [cell_page(findings, record) for record in findings.matrix.records.values()]


def test_the_index_answers_counts_and_explains(smoke_records: list[Record], make_run: MakeRun) -> None:
    text = _Page(_index(examine(make_run(smoke_records), smoke_records))).text
    assert "Is int8 faster here?" in text
    assert "int8 is 4.00" in text
    assert "16 cells 14 ok 1 unsupported 1 wrong" in text
    assert "wrong: SQNR 3 dB, at least 20 dB is asked see check" in text
    assert "unsupported: ort has no int8 form for node `add_3`" in text
    assert "simulated: the time comes from a simulator, not from a device" in text
    assert "test examples for accuracy all" in text
    assert "This run has not finished" not in text


def test_every_link_of_the_index_leads_to_a_page_or_place_that_exists(
    smoke_records: list[Record], make_run: MakeRun, tmp_path: Path
) -> None:
    index = write_report(make_run(smoke_records, tables=[SPEC]), smoke_records, tmp_path / "out")
    for page in (index, *(tmp_path / "out/cells").glob("*.html")):
        parsed = _Page(page.read_text())
        ids = {value for _, name, value in parsed.attributes if name == "id"}
        links = [value for tag, name, value in parsed.attributes if tag == "a" and name == "href"]
        assert len(links) > 0
        for link in links:
            if link.startswith("#"):
                assert link[1:] in ids, link
            else:
                assert (page.parent / link).is_file(), link


def test_the_pages_are_well_formed_and_ids_are_unique(smoke_records: list[Record], make_run: MakeRun) -> None:
    findings = examine(make_run(smoke_records), smoke_records)
    for page in (_index(findings), *_cells(findings)):
        parsed = _Page(page)
        assert parsed.open == []
        ids = [value for _, name, value in parsed.attributes if name == "id"]
        assert len(ids) == len(set(ids))


def test_the_pages_ask_for_nothing_from_outside(smoke_records: list[Record], make_run: MakeRun) -> None:
    findings = examine(make_run(smoke_records), smoke_records)
    for page in (_index(findings), *_cells(findings)):
        parsed = _Page(page)
        assert not {"iframe", "object", "embed"} & set(parsed.tags)
        assert "<script>" not in page, "a script of the page is a file: the policy forbids all others"
        for tag, name, value in parsed.attributes:
            assert tag != "script" or name != "src" or value.startswith("assets/")
            if name in ("src", "href", "xlink:href", "action", "data"):
                assert not re.match(r"(https?:)?//", value), (tag, name, value)
        assert "@import" not in page and "url(http" not in page
        assert "default-src 'none'" in page


def test_a_run_that_has_not_finished_says_so(smoke_records: list[Record], make_run: MakeRun) -> None:
    page = _index(examine(make_run(smoke_records, finished=None), smoke_records))
    assert "This run has not finished" in page


def test_cells_of_an_earlier_run_are_told(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(), make_record("int8", run_id="earlier")]
    assert "1 cell was measured in an earlier run and taken over." in _index(examine(make_run(records), records))


def test_a_run_without_records_is_a_page_all_the_same(make_run: MakeRun) -> None:
    text = _Page(_index(examine(make_run([]), []))).text
    assert "This run has no record yet." in text
    assert "0 cells" in text


def test_hostile_names_print_and_do_nothing(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [
        make_record("float32", BAD, BAD, target=BAD, hits=[1, 0, 1]),
        make_record(BAD, BAD, BAD, target=BAD, hits=[1, 1, 1], flags=(BAD,), layer=BAD, provenance={BAD: {BAD: [BAD]}}),
        make_record("m", BAD, BAD, target=BAD, status="failed", reason=BAD),
    ]
    run = make_run(records, about=BAD, data={BAD: BAD}, sampling={BAD: BAD}, baseline={"method": "float32"})
    findings = examine(run, records)
    for page in (_index(findings), *_cells(findings)):
        parsed = _Page(page)
        ours = [
            name
            for tag, name, value in parsed.attributes
            if tag == "script" and (name, value[:7]) in (("src", "assets/"), ("type", "applica"))
        ]
        assert len(ours) == parsed.tags.count("script")
        assert parsed.tags.count("title") >= 1 and parsed.open == []
        assert "alert(1)" in parsed.text
        assert "{{7*7}}" in parsed.text


def test_every_sampling_setting_of_a_suite_has_words() -> None:
    assert [field.name for field in dataclasses.fields(Sampling)] == list(html.SETTINGS)


def test_a_large_run_is_spread_over_pages_and_every_link_leads_somewhere(synthetic: Callable[..., Any], tmp_path: Path) -> None:
    made = synthetic(models=3)
    records = [r for r in made.records[0] if r.axes.method.startswith(("float", "magnitude_prune", "low_rank"))]
    records = [dataclasses.replace(r, measurements=r.measurements[:1]) for r in records]
    findings = examine(made.runs[0], records)
    sheets = cut_into_sheets(findings, [by_method(findings, model) for model in findings.matrix.labels["model"]])
    pages = pages_of(sheets, max_rows=100)
    assert [page.label for page in pages if page.axis == "model"] == ["resnet8", "dscnn", "mobilenet"]
    index = _Page(html.index_page(findings, contests(findings), sheets, pages, (), []))
    links = {value for _, name, value in index.attributes if name == "href"}
    assert {page.file for page in pages} <= links
    for page in pages:
        parsed = _Page(html.sheets_page(findings, page, contests(findings)))
        assert parsed.open == []
        cells = {value for _, name, value in parsed.attributes if name == "href" and "cells/" in value}
        assert {f"../cells/{r.id}.html" for r in records if getattr(r.axes, page.axis) == page.label} <= cells


def test_labels_break_after_punctuation_and_stay_escaped() -> None:
    assert breakable("prune(sparsity=0.5)") == "prune(<wbr>sparsity=0.5)"
    assert breakable("<b>_") == "&lt;b&gt;_<wbr>"


def test_equal_reasons_are_one_line_with_a_bounded_list_of_links(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(f"m{i}", status="failed", reason="no compiler") for i in range(20)]
    text = _Page(_index(examine(make_run(records), records))).text
    assert "and 8 more" in text
