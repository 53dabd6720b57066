"""Where Assay keeps on this machine what it can make again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """`$ASSAY_CACHE`, or `assay` in the user's cache folder."""
    named = os.environ.get("ASSAY_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay"
