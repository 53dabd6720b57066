"""Where Assay keeps on this machine what cannot be made again."""

from __future__ import annotations

import os
from pathlib import Path


def data_root() -> Path:
    """`assay` in the user's data folder."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "assay"
