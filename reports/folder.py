"""A folder of pages, written in full beside its place and then moved into it, though an older report may stand there."""

from __future__ import annotations

import fcntl
import glob
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
"""What pages load from beside them: the style and the scripts, one copy for thousands of pages."""
MANIFEST = ".assay-report"
"""Lists the files of the report in a folder, so that a later one knows which of them are its own to remove."""
_OURS = re.compile(
    r"(cells/[0-9a-f-]+\.(html|json)|(models|devices)/[0-9]+\.html|tables/[A-Za-z0-9_-]+\.(tex|csv|md|html)"
    r"|figures/[A-Za-z0-9_-]+\.(svg|pdf)|assets/[a-z]+\.(css|js))"
)
_LOCK = ".lock"


class ReportError(Exception):
    """The report cannot be made. The message says what happened, where, and what to do."""


def write_folder(out: Path, fill: Callable[[Path], None]) -> Path:
    """`fill` writes index.html and folders of files into an empty folder; returns `out/index.html`. What in `out` is not ours stays."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _beside(out) as folder:
            shutil.copytree(ASSETS, folder / "assets")
            fill(folder)
            publish(folder, out)
    except OSError as error:
        raise ReportError(
            f"cannot write the report to {out}: {error.strerror or error}. Free it up or choose another folder."
        ) from error
    return out / "index.html"


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """An empty hidden folder beside `out`, locked while it is used. One that is not locked was left by a process that was killed."""
    for left in out.parent.glob(f".{glob.escape(out.name)}.rendering-*"):
        _remove_stale(left)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.rendering-") as name:
        folder = Path(name)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / "lock").rename(folder / _LOCK)  # seen by others only once it is held
            yield folder


def _remove_stale(folder: Path) -> None:
    """Only a folder of ours that nobody holds; one without our lock file is somebody else's."""
    try:
        with (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
    except (FileNotFoundError, NotADirectoryError, BlockingIOError):
        return


def publish(rendered: Path, out: Path) -> None:
    """Move a finished report into place file by file, each move atomic, the index last.

    Killed at any point, `out` holds an index whose every link leads to a whole page: the old index with cells old or new, or
    the new index with new cells. Files of an older report that the new one lacks are removed after that.
    """
    out.mkdir(exist_ok=True)
    old = _listed(out / MANIFEST)
    new = {path.relative_to(rendered).as_posix() for path in rendered.glob("*/*")}
    _write_manifest(rendered, out, old | new)
    for kind in rendered.glob("*/"):
        (out / kind.name).mkdir(exist_ok=True)
    for name in sorted(new):
        (rendered / name).replace(out / name)
    (rendered / "index.html").replace(out / "index.html")
    for name in sorted(old - new):
        (out / name).unlink(missing_ok=True)
    _write_manifest(rendered, out, new)


def _listed(manifest: Path) -> set[str]:
    """Names in a manifest that can only be ours: it is not trusted to point anywhere else."""
    if not manifest.exists():
        return set()
    return {line for line in manifest.read_text(encoding="utf-8").splitlines() if _OURS.fullmatch(line)}


def _write_manifest(rendered: Path, out: Path, names: set[str]) -> None:
    fresh = rendered / MANIFEST
    fresh.write_text("".join(f"{name}\n" for name in sorted(names)), encoding="utf-8")
    fresh.replace(out / MANIFEST)
