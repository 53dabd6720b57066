"""What cannot be written is said beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cache import check_writable
from harness.errors import UserError


def test_check_writable(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder", "folder", 1)
    with pytest.raises(UserError, match="MB free"):
        check_writable(tmp_path, "folder", 1 << 60)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        check_writable(tmp_path / "file" / "below", "folder", 1)
