"""A board's life against the real thing: booted once for all tests (`board_targets`), rebooted, mistaken for another, filled up."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from targets import files
from targets.board import life, machine
from targets.board.board import Board, boards
from targets.errors import UserError
from targets.session import CommandFailed, Unreachable
from targets.target import Target
from targets.transports import connect

pytestmark = pytest.mark.peers


@pytest.fixture
def own_boards(board_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder without boards, whose boards do not outlive the test; an inventory's path."""
    monkeypatch.setenv("ASSAY_CACHE", str(board_image))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    yield tmp_path / "devices.yaml"
    for name in boards():
        life.down(name)


def is_empty(data: Path) -> bool:
    return not any(path.is_file() for path in data.rglob("*"))


def boot_id(target: Target) -> bytes:
    with connect(target) as session:
        return session.run(["cat", "/proc/sys/kernel/random/boot_id"], timeout_s=30).stdout


def test_another_host_key_is_refused(board_targets: tuple[Target, Target], tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    over_ssh = board_targets[0]
    (tmp_path / "known").write_text(f"[127.0.0.1]:{over_ssh.port} {(tmp_path / 'other.pub').read_text()}")
    with (
        pytest.raises(CommandFailed, match="THE HOST KEY HAS CHANGED"),
        connect(replace(over_ssh, known_hosts=str(tmp_path / "known"))),
    ):
        pass


def test_a_reboot_is_a_real_one(board_targets: tuple[Target, Target]) -> None:
    over_ssh = board_targets[0]
    before = boot_id(over_ssh)
    try:
        with connect(over_ssh) as session:
            session.run(["sh", "-c", "echo 1 >file; reboot; sleep 60"], timeout_s=60)
    except Unreachable:
        pass
    deadline = time.monotonic() + life.BOOT_S
    while True:
        try:
            after = boot_id(replace(over_ssh, connect_s=10))
        except Unreachable:
            assert time.monotonic() < deadline
            continue
        if after != before:
            break
    with connect(over_ssh) as session:
        assert session.run(["test", "-e", "file"], timeout_s=30).exit_status == 1, "its disk is memory"


def test_many_commands_at_once_all_end(board_targets: tuple[Target, Target]) -> None:
    """Its dropbear closes one in twenty channels before their command begins; that is not for a user to see."""
    with connect(board_targets[0]) as session, ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda i: session.run(["sh", "-c", f"sleep 0.1; exit {i}"], timeout_s=60).exit_status, range(40))
        assert list(found) == list(range(40))


def test_a_command_line_that_dropbear_does_not_take_is_told_and_the_session_goes_on(board_targets: tuple[Target, Target]) -> None:
    with connect(board_targets[0]) as session:
        assert session.run(["true", "x" * 8000], timeout_s=30).exit_status == 0
        with pytest.raises(CommandFailed, match="dropbear takes 9000"):
            session.run(["true", "x" * 9000], timeout_s=30)
        assert session.run(["true"], timeout_s=30).exit_status == 0


def test_its_disk_has_a_size_and_more_than_that_is_refused_beforehand(
    board_targets: tuple[Target, Target], tmp_path: Path
) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(64 << 20)
    with connect(replace(board_targets[0], work_dir="/tmp/work")) as session, pytest.raises(CommandFailed, match="ENOSPC"):
        assert files.SPARE * (64 << 20) > 64 << 20  # what guest/init gives /tmp
        session.push(tmp_path / "big", "big")


def test_a_board_that_does_not_come_up_leaves_nothing_and_says_why(own_boards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "BOOT_S", 0)
    with pytest.raises(Unreachable, match=r"not up after 0 s: the guest did not boot\. Its console:"):
        life.up(Board("slow", str(own_boards)))
    assert boards() == {} and not own_boards.exists() and is_empty(own_boards.parent / "data")
    found = subprocess.run(["pgrep", "-f", str(own_boards.parent)], capture_output=True, check=False)
    assert found.stdout == b""


def test_a_port_that_was_taken_meanwhile_is_told_and_the_board_stays(own_boards: Path) -> None:
    wanted = Board("demo", str(own_boards))
    wanted.folder.mkdir(parents=True)
    (wanted.folder / "root").write_text("an `up` that was killed left this")
    board = life.up(wanted)
    machine.stop(board)
    with socket.create_server(("127.0.0.1", board.adb_port)), pytest.raises(CommandFailed, match="assay board down demo"):
        life.up(Board("demo", str(own_boards)))
    assert boards() == {"demo": board} and machine.process(board) is None


def test_a_name_that_is_taken_is_refused_before_anything_is_made(own_boards: Path) -> None:
    own_boards.write_text("targets:\n  demo-ssh: {transport: ssh, isa: aarch64, address: shed}\n")
    with pytest.raises(UserError, match="there is a target `demo-ssh` already"):
        life.up(Board("demo", str(own_boards)))
    assert is_empty(own_boards.parent / "data")


def test_a_board_that_there_is_not_cannot_be_taken_down(own_boards: Path) -> None:
    with pytest.raises(UserError, match="no board `demo`"):
        life.down("demo")
