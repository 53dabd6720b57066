"""The cache folder: where steps leave their results, and how a result appears there whole or not at all."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from harness.errors import UserError
from targets.cache import cache_root

__all__ = ["appearing", "cache_root", "check_writable", "locked"]


def check_writable(folder: Path, what: str, need_bytes: int) -> None:
    """UserError unless files can be made in the folder and it has room; asked before any work is begun."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < need_bytes:
            raise UserError(
                f"{what} {folder}: {free / 1e6:,.0f} MB free, {need_bytes / 1e6:,.0f} MB needed; free some space or name another folder"
            )
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 65536)
    except OSError as error:
        raise UserError(f"{what} {folder}: cannot be written: {error.strerror}; name another folder") from error


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a named lock among all processes that share the cache; it goes with the process that held it."""
    path = cache_root() / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A temporary folder that becomes `folder` when the block ends well, and disappears when it does not.

    What an earlier process left half-done under the same name is swept away; the caller holds the name's lock.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for leftover in folder.parent.glob(f"{folder.name}.partial-*"):
        shutil.rmtree(leftover)
    partial = folder.with_name(f"{folder.name}.partial-{uuid4().hex}")
    partial.mkdir()
    try:
        yield partial
        partial.rename(folder)
    finally:
        if partial.exists():
            shutil.rmtree(partial)
