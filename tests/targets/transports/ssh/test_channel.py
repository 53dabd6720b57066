"""A command over a channel: signals by name, a link that breaks."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from targets.session import UNNAMED_SIGNAL, Unreachable
from targets.target import Target
from targets.transports import connect


@pytest.mark.peers
def test_every_signal_is_told_by_its_number_or_as_one_without_a_name(sshd: Any, ssh_target: Callable[[Any], Target]) -> None:
    """RFC 4254 names thirteen; OpenSSH says of others only that there was one."""
    with connect(ssh_target(sshd)) as session:
        for number in (signal.SIGHUP, signal.SIGSEGV, signal.SIGUSR2, signal.SIGPIPE, signal.SIGBUS, signal.SIGXCPU):
            found = session.run(["sh", "-c", f"kill -{int(number)} $$"], timeout_s=30).exit_status
            assert found in (-number, UNNAMED_SIGNAL) and (found == -number or number in (signal.SIGBUS, signal.SIGXCPU))
        assert session.run(["sh", "-c", f"exit {128 + 9}"], timeout_s=30).exit_status == 137


@pytest.mark.peers
def test_a_link_that_breaks_under_a_command_is_unreachable_and_leaves_nothing(
    make_sshd: Callable[..., Any], ssh_target: Callable[[Any], Target], tmp_path: Path
) -> None:
    server = make_sshd()
    with pytest.raises(Unreachable, match="target device: the connection was lost"), connect(ssh_target(server)) as session:
        threading.Timer(0.5, server.stop).start()
        session.run(["sh", "-c", "echo $$ >pid; setsid sleep 300 & sleep 300"], timeout_s=60)
    pid = int((tmp_path / "work dir" / "pid").read_text())
    for _ in range(500):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.02)
    raise AssertionError("the command outlived its connection")


@pytest.mark.peers
def test_a_session_whose_link_broke_stays_unreachable(make_sshd: Callable[..., Any], ssh_target: Callable[[Any], Target]) -> None:
    server = make_sshd()
    with connect(ssh_target(server)) as session:
        assert session.run(["true"], timeout_s=30).exit_status == 0
        server.stop()
        for _ in range(2):
            with pytest.raises(Unreachable):
                session.run(["true"], timeout_s=5)


@pytest.mark.peers
def test_the_deadline_counts_from_the_commands_own_beginning(sshd: Any, ssh_target: Callable[[Any], Target]) -> None:
    with connect(ssh_target(sshd)) as session:
        assert session.run(["sh", "-c", "sleep 0.05; echo done"], timeout_s=1).stdout == b"done\n"
