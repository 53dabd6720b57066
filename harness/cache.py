"""The cache folder: where steps leave their results."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from harness.errors import UserError
from targets.cache import appearing, cache_root, locked

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
