"""What `assay board` refuses, before anything is fetched or booted; a board's whole life is in tests/targets/test_over_board.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from targets.board.board import Board, save
from targets.errors import UserError


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("ASSAY_INVENTORY", raising=False)
    return tmp_path / "data"


def test_no_board_is_an_empty_list() -> None:
    assert CliRunner().invoke(app, ["board", "ls"]).output == "(none)\n"
    assert json.loads(CliRunner().invoke(app, ["board", "ls", "--json"]).output) == []


def test_a_board_whose_qemu_is_gone_is_dead() -> None:
    board = Board("demo", "devices.yaml", ssh_port=2222, adb_port=5555)
    board.folder.mkdir(parents=True)
    save(board)
    (row,) = json.loads(CliRunner().invoke(app, ["board", "ls", "--json"]).output)
    assert (row["board"], row["state"], row["uptime_s"], row["ssh"]) == ("demo", "dead", None, "127.0.0.1:2222")
    assert "dead" in CliRunner().invoke(app, ["board", "ls"]).output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["up"], "which inventory"),
        (["up", "--inventory", "x.yaml", "--cpu", "cortex-a73"], "Did you mean `cortex-a7"),
        (["up", "--inventory", "x.yaml", "--cpus", "2", "--deterministic"], "one CPU"),
        (["down", "demo"], "no board `demo`"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_left(arguments: list[str], says: str, own_data: Path) -> None:
    result = CliRunner().invoke(app, ["board", *arguments])
    assert isinstance(result.exception, UserError) and says in str(result.exception)
    assert not any(path.is_file() for path in own_data.rglob("*"))
