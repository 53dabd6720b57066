from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.suite import Sampling
from reports import html
from reports.findings import Findings, examine
from reports.report import draw, write_report
from reports.table import by_method, paper_table
from results.record import Measurement, Record, Run, Samples

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
        if tag not in ("meta", "link", "br", "wbr"):
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
    return html.index_page(findings, tables, [paper_table(SPEC, findings)], list(draw(findings)))


def _cells(findings: Findings) -> list[str]:
    return [html.cell_page(findings, record) for record in findings.matrix.records.values()]


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
    for page in (index, *(tmp_path / "out/cells").iterdir()):
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
        assert not {"script", "iframe", "img", "object", "embed"} & set(parsed.tags)
        for tag, name, value in parsed.attributes:
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


def test_a_cell_page_shows_numbers_samples_claims_and_provenance(smoke_records: list[Record], make_run: MakeRun) -> None:
    findings = examine(make_run(smoke_records), smoke_records)
    record = next(r for r in smoke_records if r.axes.method == "int8" and r.axes.backend == "lite")
    page = html.cell_page(findings, record)
    text = _Page(page).text
    assert "15 in 3 launches, 6 for warm-up" in text
    assert 'class="dots"' in page
    assert "CLOCK_MONOTONIC" in text
    assert "claimed bytes ratio 4×" in text
    assert "made-up" in text
    for value in (record.cell_key, record.input_hash, record.machine_key, record.sha256(), f"assay show {record.id}"):
        assert value in text


def test_a_cell_that_is_not_ok_shows_its_whole_reason_and_no_number(make_record: MakeRecord, make_run: MakeRun) -> None:
    reason = "line one\n" + "x" * 1000
    bad = make_record(
        status="wrong", reason=reason, more=(Measurement("latency", "s", "measured", "-", Samples.of([1.5e-3] * 20)),)
    )
    text = _Page(html.cell_page(examine(make_run([bad]), [bad]), bad)).text
    assert "x" * 1000 in text
    assert "1.5" not in text and "not shown: the cell is wrong" in text


def test_a_null_metric_shows_its_reason(make_record: MakeRecord, make_run: MakeRun) -> None:
    record = make_record(more=(Measurement("energy", "J", "measured", "RAPL", None, reason="needs root"),))
    assert "– needs root" in _Page(html.cell_page(examine(make_run([record]), [record]), record)).text


def test_few_samples_are_listed_and_not_drawn(make_record: MakeRecord, make_run: MakeRun) -> None:
    memory = Measurement("peak_memory", "B", "measured", "VmHWM", Samples.of([4e6, 5e6, 6e6]))
    record = make_record(latency=None, more=(memory,))
    page = html.cell_page(examine(make_run([record]), [record]), record)
    assert 'class="dots"' not in page
    assert "4 MB, 5 MB, 6 MB" in page


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
        assert "script" not in parsed.tags
        assert parsed.tags.count("title") >= 1 and parsed.open == []
        assert "alert(1)" in parsed.text
        assert "{{7*7}}" in parsed.text


def test_every_sampling_setting_of_a_suite_has_words() -> None:
    assert [field.name for field in dataclasses.fields(Sampling)] == list(html.SETTINGS)


def test_labels_break_after_punctuation_and_stay_escaped() -> None:
    assert html.breakable("prune(sparsity=0.5)") == "prune(<wbr>sparsity=0.5)"
    assert html.breakable("<b>_") == "&lt;b&gt;_<wbr>"


def test_equal_reasons_are_one_line_with_a_bounded_list_of_links(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(f"m{i}", status="failed", reason="no compiler") for i in range(20)]
    text = _Page(_index(examine(make_run(records), records))).text
    assert "and 8 more" in text


def _in_chromium(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium not found")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --disable-dev-shm-usage"
    )
    return subprocess.run(
        [browser, *flags.split(), f"--user-data-dir={folder / 'profile'}", *arguments],
        capture_output=True,
        timeout=120,
        check=True,
    )


@pytest.mark.peers
def test_a_browser_opens_the_page_without_a_request_or_a_complaint(
    smoke_records: list[Record], make_run: MakeRun, tmp_path: Path
) -> None:
    index = write_report(make_run(smoke_records, tables=[SPEC]), smoke_records, tmp_path / "out")
    log = tmp_path / "net.json"
    ran = _in_chromium(["--enable-logging=stderr", "--v=0", f"--log-net-log={log}", "--dump-dom", index.as_uri()], tmp_path)
    dom = ran.stdout.decode()
    assert "int8 is 4.00" in re.sub(r"<[^>]+>", "", dom)
    assert b"CONSOLE" not in ran.stderr, ran.stderr.decode()
    asked = re.findall(r'"url":"(https?://[^"]*)"', log.read_text(errors="replace"))
    ours = [url for url in asked if "google" not in url and "gvt1" not in url]  # the browser's own calls home
    assert ours == []


@pytest.mark.peers
def test_nothing_sticks_out_of_a_phone(smoke_records: list[Record], make_run: MakeRun, tmp_path: Path) -> None:
    """The page itself never scrolls sideways at 390 px; only tables do, within themselves."""
    index = write_report(make_run(smoke_records, tables=[SPEC]), smoke_records, tmp_path / "out")
    cell = next((tmp_path / "out/cells").iterdir())
    for page in (index, cell):
        frame = tmp_path / "frame.html"
        frame.write_text(
            f'<iframe src="{page.as_uri()}" width="390" height="800"></iframe><p id="w"></p><script>onload = () => {{'
            "const d = frames[0].document.documentElement; document.getElementById('w').textContent = "
            "`width ${d.scrollWidth} of ${d.clientWidth}`}</script>"
        )
        ran = _in_chromium(["--allow-file-access-from-files", "--dump-dom", frame.as_uri()], tmp_path)
        found = re.search(r"width (\d+) of (\d+)", ran.stdout.decode())
        assert found is not None, ran.stdout.decode()[-500:]
        assert int(found[1]) <= int(found[2]), page.name
