"""Where Assay keeps on this machine what it can make again, and how a result appears there whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def cache_root() -> Path:
    """`$ASSAY_CACHE`, or `assay` in the user's cache folder."""
    named = os.environ.get("ASSAY_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay"


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
