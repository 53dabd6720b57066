"""Results appear whole or not at all; one process at a time holds a name."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from targets.cache import appearing, cache_root


def test_the_cache_is_where_the_environment_says(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_root() == own_cache
    monkeypatch.delenv("ASSAY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_root() == Path("/x/assay")


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
    code = "from targets.cache import locked\nimport time\nwith locked('x'):\n    print('held', flush=True)\n    time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    waiter = subprocess.Popen(
        [sys.executable, "-c", "from targets.cache import locked\nwith locked('x'): print('mine')"], stdout=subprocess.PIPE
    )
    time.sleep(0.5)
    assert waiter.poll() is None
    holder.kill()
    assert waiter.communicate(timeout=30)[0] == b"mine\n"
    holder.communicate()
