from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reports import html, report
from reports.findings import examine
from reports.report import MANIFEST, MAX_DRAWN, ReportError, draw, publish, write_report
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
    assert {name for name in files - mine if name.startswith("cells/")} == {f"cells/{record.id}.html" for record in fewer}


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


def _rendered(folder: Path, cells: str, edition: str) -> Path:
    """What `render` leaves, in small: an index that links to its cells, a table, a figure."""
    for name in ("cells", "tables", "figures"):
        (folder / name).mkdir(parents=True)
    for cell in cells:
        (folder / "cells" / f"{cell}.html").write_text(f"{edition} whole")
    (folder / "tables" / f"{edition}.tex").write_text(f"{edition} whole")
    (folder / "figures" / "trade-off-1.svg").write_text(f"{edition} whole")
    (folder / "index.html").write_text(f"{edition} {cells}")
    return folder


def test_killed_between_any_two_moves_every_link_still_leads_to_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rename and removal of `publish` in turn is the last one that happens."""
    real_replace, real_unlink = Path.replace, Path.unlink

    class Killed(BaseException):
        pass

    for last in range(100):
        left = last

        def step() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        def replace(self: Path, target: Path) -> Path:
            step()
            return real_replace(self, target)

        def unlink(self: Path, missing_ok: bool = False) -> None:
            step()
            real_unlink(self, missing_ok)

        out = tmp_path / f"out{last}"
        publish(_rendered(tmp_path / f"old{last}", "abcd", "old"), out)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            patch.setattr(Path, "unlink", unlink)
            try:
                publish(_rendered(tmp_path / f"new{last}", "cdef", "new"), out)
                finished = True
            except Killed:
                finished = False
        edition, cells = (out / "index.html").read_text().split()
        assert (edition, cells) in (("old", "abcd"), ("new", "cdef"))
        for cell in cells:
            assert (out / f"cells/{cell}.html").read_text() in ("old whole", "new whole")
        assert (out / f"tables/{edition}.tex").read_text() == f"{edition} whole"
        publish(_rendered(tmp_path / f"again{last}", "cdef", "new"), out)
        assert _files(out) == {
            "index.html", MANIFEST, *(f"cells/{cell}.html" for cell in "cdef"), "tables/new.tex", "figures/trade-off-1.svg",
        }  # fmt: skip
        if finished:
            assert last > 8
            return
    pytest.fail("publish never finished")


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
    assert names == {"model-1", "model-1-2", "-evil", "a-b", "a-b-2", "table"}
    assert {path.name for path in tmp_path.iterdir() if path.name != "assay-cache"} == {"out"}


def test_a_run_without_records_has_a_report(make_run: MakeRun, tmp_path: Path) -> None:
    index = write_report(make_run([], tables=[SPEC]), [], tmp_path / "out")
    assert "This run has no record yet." in index.read_text()
    assert not list((tmp_path / "out/figures").iterdir())


def test_figures_that_are_not_drawn_are_told(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(model=f"m{i}", latency=None) for i in range(MAX_DRAWN + 3)]
    drawn = list(draw(examine(make_run(records), records)))
    assert len(drawn) == 1 + 2 * MAX_DRAWN + 1
    assert drawn[-1].sentence.startswith(f"Drawn are the first {MAX_DRAWN} of {MAX_DRAWN + 3} models")
