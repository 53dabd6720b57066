"""The process is found by its own command line, ended for good, and no stranger is ever touched."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from targets.board import machine
from targets.board.board import Board
from targets.errors import UserError

MEEK = "import time; print(flush=True); time.sleep(300)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {MEEK}"


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "it's data"))
    board = Board("demo", "devices.yaml", ssh_port=2222, adb_port=5555)
    board.folder.mkdir(parents=True)
    return board


@pytest.fixture
def running(board: Board) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a program with these further words; its number is in the board's pid file."""
    started: list[subprocess.Popen[bytes]] = []

    def run(program: str, *words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == b"\n"
        (board.folder / "qemu.pid").write_text(f"{process.pid}\n")
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("program", [MEEK, STUBBORN])
def test_a_process_that_was_started_with_the_pid_file_is_the_boards_and_is_ended(
    board: Board, running: Callable[..., subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(machine, "END_S", 0.5)
    process = running(program, "-pidfile", str(board.folder / "qemu.pid"))
    assert machine.process(board) == process.pid and machine.uptime_s(board) is not None
    machine.stop(board)
    assert process.wait(30) == (-15 if program == MEEK else -9)
    assert machine.process(board) is None and machine.uptime_s(board) is None


@pytest.mark.parametrize("words", [(), ("-pidfile", "/elsewhere/qemu.pid"), ("qemu.pid", "-pidfile")])
def test_a_stranger_who_got_the_number_is_left_alone(
    board: Board, running: Callable[..., subprocess.Popen[bytes]], words: tuple[str, ...]
) -> None:
    process = running(MEEK, *words)
    assert machine.process(board) is None
    machine.stop(board)
    time.sleep(0.1)
    assert process.poll() is None


@pytest.mark.parametrize("content", [None, "", "x", "999999999"])
def test_without_a_process_there_is_nothing_to_stop(board: Board, content: str | None) -> None:
    if content is not None:
        (board.folder / "qemu.pid").write_text(content)
    assert machine.process(board) is None
    machine.stop(board)


def test_the_guest_sees_nothing_of_the_world_and_the_world_only_loopback_sees_it(board: Board) -> None:
    words = machine.command(board, Path("kernel"), Path("root"))
    network = words[words.index("-netdev") + 1].split(",")
    assert "restrict=on" in network
    assert [word for word in network if word.startswith("hostfwd")] == [
        "hostfwd=tcp:127.0.0.1:2222-:22", "hostfwd=tcp:127.0.0.1:5555-:5555",
    ]  # fmt: skip


def test_only_a_deterministic_board_counts_instructions_instead_of_time(board: Board) -> None:
    assert "-icount" not in machine.command(board, Path("kernel"), Path("root"))
    assert "-icount" in machine.command(replace(board, deterministic=True), Path("kernel"), Path("root"))


def test_a_missing_emulator_is_told_with_its_package(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="qemu-system-arm"):
        machine.start(board, Path("kernel"), Path("root"))


def test_last_words_are_the_end_of_the_console(board: Board) -> None:
    assert machine.last_words(board) == "it said nothing"
    machine.console(board).write_bytes(b"".join(b"line %d\n" % i for i in range(100)) + b"\xff")
    assert machine.last_words(board).splitlines()[-2:] == ["line 99", "\ufffd"]
