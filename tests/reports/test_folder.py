from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reports import folder
from reports.folder import ASSETS, MANIFEST, ReportError, publish, write_folder


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


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


def _fill(rendering: Path) -> None:
    (rendering / "cells").mkdir()
    (rendering / "cells" / "ab.html").write_text("cell")
    (rendering / "index.html").write_text("index")


def _killed_while_rendering(out: Path) -> Path:
    """The folder that a process leaves which is killed in the middle of `write_folder`."""
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom reports.folder import write_folder\n"
        "write_folder(Path(sys.argv[1]), lambda _: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    root = str(Path(folder.__file__).resolve().parent.parent)
    environment = {**os.environ, "PYTHONPATH": root}
    killed = subprocess.run([sys.executable, "-c", program, str(out)], env=environment, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = out.parent.glob(f".{out.name}.rendering-*")
    return left


def test_a_folder_has_its_pages_and_what_they_load(tmp_path: Path) -> None:
    assert write_folder(tmp_path / "deep" / "out", _fill) == tmp_path / "deep" / "out" / "index.html"
    assets = {f"assets/{path.name}" for path in ASSETS.iterdir()}
    assert {"assets/style.css", "assets/page.js"} <= assets
    assert _files(tmp_path / "deep") == {f"out/{name}" for name in {"index.html", "cells/ab.html", MANIFEST, *assets}}


def test_what_a_killed_render_left_is_removed_by_the_next(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _files(_killed_while_rendering(out))
    write_folder(out, _fill)
    assert [path.name for path in tmp_path.iterdir() if path.name != "assay-cache"] == ["out"]


def test_what_another_render_is_writing_right_now_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def fill_twice(rendering: Path) -> None:
        write_folder(out, _fill)
        assert rendering.is_dir() and (rendering / "assets").is_dir()
        _fill(rendering)

    write_folder(out, fill_twice)
    assert (out / "index.html").read_text() == "index"


def test_only_what_is_surely_ours_and_for_this_folder_is_removed(tmp_path: Path) -> None:
    other = _killed_while_rendering(tmp_path / "other")
    mine = tmp_path / ".out.rendering-mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("keep me")
    file = tmp_path / ".out.rendering-file"
    file.write_text("keep me")
    star = _killed_while_rendering(tmp_path / "outx")
    write_folder(tmp_path / "out", _fill)
    write_folder(tmp_path / "o*", _fill)
    assert other.is_dir() and star.is_dir()
    assert (mine / "thesis.tex").read_text() == file.read_text() == "keep me"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ReportError, match=r"cannot write the report to .*file/out.* or choose another folder"):
        write_folder(tmp_path / "file" / "out", _fill)
