from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from reports import html, report
from reports.findings import examine
from reports.folder import MANIFEST, ReportError
from reports.report import MAX_DRAWN, draw, write_report
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
SPEC = {"name": "main", "caption": "c", "rows": ["model", "method"], "columns": "backend", "metrics": ["latency", "speedup"]}


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_report_has_an_index_a_page_a_cell_and_every_table_three_times(
    smoke_records: list[Record], make_run: MakeRun, tmp_path: Path
) -> None:
    index = write_report(make_run(smoke_records, tables=[SPEC]), smoke_records, tmp_path / "deep" / "out")
    assert index == tmp_path / "deep" / "out" / "index.html"
    files = _files(index.parent)
    assert {f"cells/{record.id}.html" for record in smoke_records} <= files
    assert {f"tables/{name}.{suffix}" for name in ("main", "model-1", "model-2") for suffix in ("tex", "csv", "md")} <= files
    assert {"figures/claimed-and-measured.svg", "figures/trade-off-1.svg", "figures/speed-up-2.svg"} <= files
    assert [path.name for path in index.parent.parent.iterdir()] == ["out"], "nothing is left beside the report"


def test_equal_records_give_equal_bytes(smoke_records: list[Record], make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(smoke_records, tables=[SPEC])
    for name, records in (("a", smoke_records), ("b", smoke_records[::-1])):
        write_report(run, records, tmp_path / name)
    assert _files(tmp_path / "a") == _files(tmp_path / "b")
    for name in _files(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_a_later_report_removes_what_is_its_own_and_nothing_else(
    smoke_records: list[Record], make_run: MakeRun, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write_report(make_run(smoke_records, tables=[SPEC]), smoke_records, out)
    mine = {"notes.txt", "cells/mine.html", "tables/mine.tex", "figures/mine.svg", ".hidden"}
    for name in mine:
        (out / name).write_text("keep me")
    fewer = smoke_records[:8]
    write_report(make_run(fewer), fewer, out)
    files = _files(out)
    assert mine <= files and all((out / name).read_text() == "keep me" for name in mine)
    assert "tables/main.tex" not in files
    assert {name for name in files - mine if name.startswith("cells/")} == {
        f"cells/{record.id}.{kind}" for record in fewer for kind in ("html", "json")
    }


def test_a_manifest_can_point_nowhere_else(smoke_records: list[Record], make_run: MakeRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    victims = [tmp_path / "victim.html", out / "notes.txt"]
    for victim in victims:
        victim.write_text("keep me")
    (out / MANIFEST).write_text(f"../victim.html\n{victims[0]}\nnotes.txt\ncells/../notes.txt\ncells/../../victim.html\n")
    write_report(make_run(smoke_records), smoke_records, out)
    assert [victim.read_text() for victim in victims] == ["keep me", "keep me"]


def test_a_render_that_fails_leaves_the_old_report_whole(
    smoke_records: list[Record], make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write_report(make_run(smoke_records), smoke_records, out)
    before = {name: (out / name).read_bytes() for name in _files(out)}

    def refuse(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(html, "index_page", refuse)
    with pytest.raises(ReportError, match=r"cannot write the report to .*out: No space left on device\. Free it up"):
        write_report(make_run(smoke_records[:4]), smoke_records[:4], out)
    assert {name: (out / name).read_bytes() for name in _files(out)} == before
    assert list(tmp_path.iterdir()) == [out]


def test_killed_while_rendering_the_old_report_stands(smoke_records: list[Record], make_run: MakeRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_report(make_run(smoke_records[:4]), smoke_records[:4], out)
    before = {name: (out / name).read_bytes() for name in _files(out)}
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom reports import html, report\n"
        "html.index_page = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from results.record import Axes, Record, Run\n"
        "record = Record('ab', 'r', 'c', 'i', 'm', Axes('m', 'x', 'b', 't'), 'failed', 'why', None, '', '')\n"
        "report.write_report(Run('r', 's', {}, 0, ''), [record], Path(sys.argv[1]))\n"
    )
    root = str(Path(report.__file__).resolve().parent.parent)
    killed = subprocess.run(
        [sys.executable, "-c", program, str(out)],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert {name: (out / name).read_bytes() for name in _files(out)} == before


@pytest.mark.parametrize("bad", ["../../etc/passwd", "AB12", "a b", "", "a/b", "x" * 8, "a" * 65, "a\n"])
def test_a_record_id_that_cannot_be_a_file_name_is_refused(
    bad: str, make_record: MakeRecord, make_run: MakeRun, tmp_path: Path
) -> None:
    record = make_record(record_id=bad or None)
    if not bad:
        record = dataclasses.replace(record, id="")
    with pytest.raises(ReportError, match="is not made of the digits"):
        write_report(make_run([record]), [record], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_record_given_twice_is_refused(make_record: MakeRecord, make_run: MakeRun, tmp_path: Path) -> None:
    record = make_record()
    with pytest.raises(ReportError, match="appears twice"):
        write_report(make_run([record]), [record, record], tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_named(make_record: MakeRecord, make_run: MakeRun, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    record = make_record()
    for out in (blocked, blocked / "out"):
        with pytest.raises(ReportError, match=r"cannot write the report to .* or choose another folder"):
            write_report(make_run([record]), [record], out)
    assert blocked.read_text() == "not a folder"


def test_hostile_and_clashing_table_names_become_file_names(make_record: MakeRecord, make_run: MakeRun, tmp_path: Path) -> None:
    specs = [{**SPEC, "name": name} for name in ("../../evil", "model-1", "a b", "a/b", "")]
    record = make_record()
    write_report(make_run([record], tables=specs), [record], tmp_path / "out")
    names = {path.stem for path in (tmp_path / "out/tables").iterdir()}
    assert names == {"all", "model-1", "model-1-2", "-evil", "a-b", "a-b-2", "table"}
    assert {path.name for path in tmp_path.iterdir() if path.name != "assay-cache"} == {"out"}


def test_a_run_without_records_has_a_report(make_run: MakeRun, tmp_path: Path) -> None:
    index = write_report(make_run([], tables=[SPEC]), [], tmp_path / "out")
    assert "This run has no record yet." in index.read_text()
    assert not list((tmp_path / "out/figures").iterdir())


def test_figures_that_are_not_drawn_are_told(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(model=f"m{i}", latency=None) for i in range(MAX_DRAWN + 3)]
    drawn = list(draw(examine(make_run(records), records)))
    assert len(drawn) == 2
    assert (
        drawn[-1].sentence.startswith(f"Drawn by themselves are up to {MAX_DRAWN} models")
        and f"has {MAX_DRAWN + 3}" in drawn[-1].sentence
    )


def test_cells_written_by_several_processes_are_the_same_bytes(
    smoke_records: list[Record], make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = examine(make_run(smoke_records), smoke_records)
    for name, cells_a_process in (("one", 1000), ("many", 4)):
        monkeypatch.setattr(report, "CELLS_A_PROCESS", cells_a_process)
        monkeypatch.setattr(os, "cpu_count", lambda: 3)
        (tmp_path / name).mkdir()
        with report.cell_pages(findings, tmp_path / name):
            pass
    assert _files(tmp_path / "one") == _files(tmp_path / "many") >= {f"{record.id}.html" for record in smoke_records}
    for name in _files(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


def test_an_error_in_one_of_several_processes_is_the_reports(
    smoke_records: list[Record], make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "CELLS_A_PROCESS", 4)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "write_cells", refuse)  # the processes are forked with it
    with pytest.raises(ReportError, match="No space left on device"):
        write_report(make_run(smoke_records), smoke_records, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_process_that_is_killed_is_told(
    smoke_records: list[Record], make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "CELLS_A_PROCESS", 4)
    monkeypatch.setattr(report, "write_cells", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with (
        pytest.raises(ReportError, match=r"was killed, perhaps for want of memory\. Render again"),
        report.cell_pages(examine(make_run(smoke_records), smoke_records), tmp_path),
    ):
        pass


def test_a_process_that_is_killed_while_pages_are_handed_out_is_told_too(
    smoke_records: list[Record], make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr(report, "CELLS_A_PROCESS", 4)
    monkeypatch.setattr("reports.report.ProcessPoolExecutor.submit", broken)
    with (
        pytest.raises(ReportError, match="was killed"),
        report.cell_pages(examine(make_run(smoke_records), smoke_records), tmp_path),
    ):
        pass


def test_the_overview_of_ten_thousand_cells_stays_small(synthetic: Callable[..., Any], tmp_path: Path) -> None:
    """A seeded sample in CI: 3 models of 336 cells; the nightly session renders 30 of them, 10,080 cells."""
    made = synthetic(models=30 if os.environ.get("ASSAY_NIGHTLY") else 3)
    (records,) = made.records
    index = write_report(
        made.runs[0], [dataclasses.replace(r, measurements=r.measurements[:1]) for r in records], tmp_path / "out"
    )
    assert index.stat().st_size < 3_000_000
    assert len(list((tmp_path / "out/cells").glob("*.html"))) == len(records)
    pages = [*(tmp_path / "out/models").iterdir(), *(tmp_path / "out/devices").iterdir()]
    assert len(pages) == len(made.runs[0].document["models"]) - len([m for m in made.runs[0].document["models"] if "/" in m]) + 6
    rows = sum(len(re.findall("<tr[^>]* data-record=", page.read_text())) for page in pages)
    assert rows == 2 * len(records), "every cell is a row of its model's page and of its device's"
