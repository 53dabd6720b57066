"""A session on this machine: what is its own beside the contract that all transports keep (test_session_contract.py)."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from targets import here
from targets.session import CommandFailed
from targets.target import Target
from targets.transports import connect

ROOT = Path(__file__).resolve().parents[2]


def test_a_work_directory_that_vanished_is_named(tmp_path: Path) -> None:
    with connect(Target("desk", work_dir=str(tmp_path / "work"))) as session:
        (tmp_path / "work").rmdir()
        with pytest.raises(CommandFailed, match="cannot be entered"):
            session.run(["true"], timeout_s=10)


@pytest.mark.parametrize(("free", "is_refused"), [(119, True), (120, False)])
def test_a_push_asks_for_a_fifth_more_room_than_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, is_refused: bool
) -> None:
    (tmp_path / "source").write_bytes(b"x" * 100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=free))
    with connect(Target("desk", work_dir=str(tmp_path / "work"))) as session:
        if not is_refused:
            session.push(tmp_path / "source", "file")
            return
        with pytest.raises(CommandFailed, match=r"ENOSPC: 120 bytes are needed and 119 are free .*; delete"):
            session.push(tmp_path / "source", "file")


def test_a_push_that_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    """The system refuses to write beyond 1 MB (RLIMIT_FSIZE), as a full disk would."""
    program = f"""
import resource, signal
from pathlib import Path
from targets.session import CommandFailed
from targets.target import Target
from targets.transports import connect
folder = Path({str(tmp_path)!r})
with connect(Target("desk", work_dir=str(folder / "work"))) as session:
    (folder / "source").write_bytes(b"old")
    session.push(folder / "source", "file")
    (folder / "source").write_bytes(b"n" * (2 << 20))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    try:
        session.push(folder / "source", "file")
    except CommandFailed as error:
        print(error)
"""
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "push of 'file': EFBIG" in told
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["file"]
    assert (tmp_path / "work" / "file").read_bytes() == b"old"


def test_what_was_written_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that keeps other bytes than it was given."""

    def forgetful(source: Path, destination: Path) -> str:
        digest = real_copy(source, destination)
        destination.write_bytes(b"\0" * destination.stat().st_size)
        return digest

    real_copy = here._copy
    monkeypatch.setattr(here, "_copy", forgetful)
    (tmp_path / "source").write_bytes(b"content")
    refused = pytest.raises(CommandFailed, match="what was written is not what was sent")
    with connect(Target("desk", work_dir=str(tmp_path / "work"))) as session, refused:
        session.push(tmp_path / "source", "file")
    assert list((tmp_path / "work").iterdir()) == []


def test_an_interrupted_command_is_not_left_running(tmp_path: Path) -> None:
    """Ctrl-C while a command runs."""
    program = f"""
import os, signal, threading, time
from pathlib import Path
from targets.target import Target
from targets.transports import connect
work = Path({str(tmp_path)!r})
def interrupt():
    while not (work / "child").exists() or not (work / "child").read_text().endswith("\\n"):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
with connect(Target("desk", work_dir=str(work))) as session:
    session.run(["sh", "-c", "trap '' INT TERM; echo $$ >child; sleep 300"], timeout_s=60)
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGINT and b"KeyboardInterrupt" in ended.stderr
    child = int((tmp_path / "child").read_text())
    stat = Path(f"/proc/{child}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_a_command_that_had_just_begun_when_the_interrupt_came_is_not_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs already, and `Popen` has not said yet by which number."""
    begun: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def _execute_child(self, *given: Any) -> None:
            super()._execute_child(*given)  # type: ignore[misc]  # typeshed does not know it
            begun.append(self)
            raise KeyboardInterrupt

    with connect(Target("desk", work_dir=str(tmp_path))) as session:
        monkeypatch.setattr(subprocess, "Popen", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.run(["sleep", "300"], timeout_s=60)
    assert begun[0].wait(timeout=10) == -signal.SIGKILL


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    with connect(Target("desk", work_dir=str(tmp_path))) as session:
        session.run(["true"], timeout_s=10)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(5):
            session.run(["echo", "x"], timeout_s=10)
            session.run(["no-such-program"], timeout_s=10)
            session.run(["sleep", "5"], timeout_s=0.01)
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_launch_stands_between_a_command_and_what_is_executed(tmp_path: Path) -> None:
    """As an emulator does; what it refuses ends as what a kernel refuses."""

    def launch(argv: Sequence[str], _folder: Path, environment: Mapping[str, str]) -> Sequence[str]:
        if argv[0] == "foreign":
            raise OSError(errno.ENOEXEC, "Exec format error")
        return ["echo", environment["ASKED"], *argv]

    session = here.session_here(Target("desk", work_dir=str(tmp_path)), launch)
    result = session.run(["program", "x"], timeout_s=10, environment={"ASKED": "a"})
    assert (result.argv, result.stdout) == (("program", "x"), b"a program x\n")
    refused = session.run(["foreign"], timeout_s=10, environment={"ASKED": ""})
    assert (refused.exit_status, refused.stderr) == (126, b"foreign: Exec format error\n")
