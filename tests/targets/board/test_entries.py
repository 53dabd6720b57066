"""Two targets of one machine come into the inventory and go from it; what is not the board's stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from targets.board import entries
from targets.board.board import Board
from targets.errors import UserError
from targets.inventory import load_inventory

MINE = "# mine\ntargets:\n  shed: {transport: ssh, isa: aarch64, address: shed}  # the old one\n"


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return Board("demo", str(tmp_path / "devices.yaml"), ssh_port=2222, adb_port=5555)


def test_entries_come_and_go_and_the_rest_of_the_file_stays(board: Board) -> None:
    path = Path(board.inventory)
    path.write_text(MINE)
    entries.register(board)
    entries.register(board)
    found = load_inventory(path)
    over_ssh, over_adb = entries.targets(board)
    assert {name: target for name, target in found.items() if name.startswith("demo")} == {
        "demo-ssh": over_ssh,
        "demo-adb": over_adb,
    }
    entries.unregister(board)
    entries.unregister(board)
    assert path.read_text() == MINE


def test_both_say_what_the_board_is(board: Board) -> None:
    for target in entries.targets(board):
        assert (target.origin, target.python, target.isa, target.cpu) == ("emulated", "none", "aarch64", "cortex_a72")
        assert target.host == "localhost", "it uses this machine's cores: neither way is timed while anything else is"
        assert not target.counts_instructions and target.tags == ()
    for target in entries.targets(replace(board, deterministic=True, cpu="max")):
        assert target.counts_instructions and target.tags == ("deterministic",) and target.cpu == ""
    over_ssh, over_adb = entries.targets(board)
    assert over_ssh.work_dir != over_adb.work_dir
    assert over_ssh.max_disk_bytes + over_adb.max_disk_bytes < entries.disk_bytes(board)


def test_another_devices_entry_is_neither_taken_nor_deleted(board: Board) -> None:
    path = Path(board.inventory)
    other = "targets:\n  demo-adb: {transport: ssh, isa: aarch64, address: shed}\n"
    path.write_text(other)
    with pytest.raises(UserError, match="there is a target `demo-adb` already"):
        entries.check_are_new(board)
    with pytest.raises(UserError, match="`demo-adb` is not board demo's"):
        entries.register(board)
    entries.unregister(board)
    assert path.read_text() == other


def test_an_inventory_that_was_deleted_needs_nothing_taken_out(board: Board) -> None:
    entries.unregister(board)
    assert not Path(board.inventory).exists()
