from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.compare import Diff, compare
from reports.diff_page import diff_page, write_diff
from reports.folder import ReportError
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
OpenPage = Callable[..., Any]
STEADY = (1e-3, 1.001e-3, 0.999e-3)


def _later(record: Record) -> Record:
    return dataclasses.replace(record, id=f"{record.id[:-1]}{int(record.id[-1], 16) ^ 1:x}", input_hash="9" * 64)


@pytest.fixture
def sides(make_record: MakeRecord) -> tuple[list[Record], list[Record]]:
    old = [make_record("slower", latency=STEADY), make_record("broke"), make_record("same"), make_record("gone")]
    new = [
        make_record("slower", latency=[1.2 * s for s in STEADY]),
        make_record("broke", status="wrong", reason="SQNR 3 dB"),
        make_record("same"),
    ]
    return old, [_later(record) for record in new]


@pytest.fixture
def diff(sides: tuple[list[Record], list[Record]], make_run: MakeRun) -> Diff:
    old, new = sides
    return compare(make_run(old), dataclasses.replace(make_run(new), id="b" * 8), old, new)


def test_the_page_says_what_changed_and_links_to_the_cells_of_both_runs(
    diff: Diff, sides: tuple[list[Record], list[Record]], tmp_path: Path
) -> None:
    index = write_diff(diff, *sides, tmp_path / "out")
    page = index.read_text()
    text = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())
    assert "2 worse, nothing better; 3 of 4 numbers did not change" in text
    assert "+20.00% [" in text and "ok → wrong : cnn | broke | ort SQNR 3 dB" in text
    assert "Cells only in 5a1e0000: 1" in text
    links = re.findall(r'href="([^"#]+)"', page)
    cells = {link for link in links if link.startswith("cells/")}
    assert len(cells) == 4
    assert all((tmp_path / "out" / link).is_file() for link in links if not link.startswith("data:"))
    assert len(list((tmp_path / "out/cells").glob("*.html"))) == 4, "what did not change has no page"


def test_a_page_of_nothing_says_so(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record()]
    assert "Nothing significant." in diff_page(compare(make_run(records), make_run(records), records, records))


def test_a_folder_that_cannot_be_written_is_an_error_with_advice(
    diff: Diff, sides: tuple[list[Record], list[Record]], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ReportError, match="choose another folder"):
        write_diff(diff, *sides, tmp_path / "file" / "out")


@pytest.mark.peers
def test_it_opens_without_a_complaint_and_fits_a_phone(
    diff: Diff, sides: tuple[list[Record], list[Record]], tmp_path: Path, browser: OpenPage
) -> None:
    page = browser(write_diff(diff, *sides, tmp_path / "out"), width=375, height=800)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    with page.expect_navigation():
        page.locator("td[data-metric=latency] a").last.click(timeout=10_000)
    assert "slower" in page.locator("h1").inner_text()
    with page.expect_navigation():
        page.get_by_role("link", name="made-up").first.click()
    assert "of made-up" in page.locator("h1").inner_text()
