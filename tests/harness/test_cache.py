"""Results appear whole or not at all; one process at a time holds a name; what cannot be written is said beforehand."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.cache import appearing, check_writable
from harness.errors import UserError


def test_a_folder_appears_only_when_the_block_ends_well(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), appearing(tmp_path / "a") as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with appearing(tmp_path / "a") as folder:
        (folder / "whole").write_text("x")
        assert not (tmp_path / "a").exists()
    assert [p.name for p in tmp_path.rglob("*")] == ["a", "whole"]


def test_what_a_killed_process_left_half_done_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / "a.partial-dead").mkdir()
    (tmp_path / "ab.partial-alive").mkdir()
    with appearing(tmp_path / "a"):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "ab.partial-alive"]


def test_a_lock_is_released_when_its_holder_is_killed(own_cache: Path) -> None:
    code = "from harness.cache import locked\nimport time\nwith locked('x'):\n    print('held', flush=True)\n    time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    waiter = subprocess.Popen(
        [sys.executable, "-c", "from harness.cache import locked\nwith locked('x'): print('mine')"], stdout=subprocess.PIPE
    )
    time.sleep(0.5)
    assert waiter.poll() is None
    holder.kill()
    assert waiter.communicate(timeout=30)[0] == b"mine\n"
    holder.communicate()


def test_check_writable(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder", "folder", 1)
    with pytest.raises(UserError, match="MB free"):
        check_writable(tmp_path, "folder", 1 << 60)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        check_writable(tmp_path / "file" / "below", "folder", 1)
