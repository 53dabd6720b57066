"""What a plan must download is told once, fetched once, and nothing is fetched by telling."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.plan import Cell, plan
from harness.suite_file import load_suite
from harness.supply import download_text, downloads, fetch
from targets.target import Target

PLUGIN = '''
"""Needs a download, or two parts of one."""
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from harness.cache import cache_root
from harness.data import Batch, DataSpec, Source
from harness.errors import UserError

@dataclass(frozen=True)
class Remote:
    part: int = 0
    spec = DataSpec((1, 8, 8), 10, "Remote")

    def source(self): return Source("here") if fetched().exists() else Source("http://far.example/all.zip", 2_500_000)
    def fingerprint(self): return f"remote {self.part}"
    def load(self, split, size=None):
        if fetched().with_name("broken").exists():
            raise UserError("no network; put it there yourself")
        fetched().write_text(f"{split} {size}")
        return Batch(np.zeros((1, 1, 8, 8), np.float32), np.zeros(1, np.int64))

def fetched():
    return cache_root().with_name("fetched")

DATA = Remote
'''


@pytest.fixture
def fetched(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes `remote_for_supply` a data set; the file that its download leaves."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "remote_for_supply.py").write_text(PLUGIN)
    monkeypatch.setenv("ASSAY_PLUGINS", str(tmp_path))
    return own_cache.with_name("fetched")


def cells(tmp_path: Path, models: str, more: str = "") -> tuple[Cell, ...]:
    path = tmp_path / "s.yaml"
    path.write_text(f"models: {models}\nmethods: [float32]\nbackends: [onnxruntime]\n{more}")
    suite = load_suite(str(path), known_targets={"local": Target("local")})
    return plan(suite, {"local": Target("local")}, repr, lambda _hashes: {})


TWO = "[{mlp: {data: [remote_for_supply, remote_for_supply(part=1)]}}, small_cnn]"


def test_one_download_that_two_data_sets_want_is_told_and_fetched_once(fetched: Path, tmp_path: Path) -> None:
    planned = cells(tmp_path, TWO)
    assert [cell.workload.data for cell in planned] == ["remote_for_supply", "remote_for_supply(part=1)", "digits"]
    assert [download_text(source) for source in downloads(planned)] == ["to download: http://far.example/all.zip, 2.5 MB"]
    assert not fetched.exists()
    said: list[str] = []
    fetch(planned, said.append)
    assert said == ["to download: http://far.example/all.zip, 2.5 MB"] and fetched.read_text() == "test 1"
    fetch(planned, said.append)
    assert len(said) == 1 and fetched.read_text() == "test 1"


def test_what_only_excluded_cells_want_is_not_fetched(fetched: Path, tmp_path: Path) -> None:
    planned = cells(tmp_path, TWO, "exclude: [{model: mlp}]\n")
    fetch(planned, lambda _text: None)
    assert not downloads(planned) and not fetched.exists()


def test_a_download_that_fails_is_the_users_to_know(fetched: Path, tmp_path: Path) -> None:
    fetched.with_name("broken").touch()
    with pytest.raises(UserError, match="put it there yourself"):
        fetch(cells(tmp_path, TWO), lambda _text: None)
