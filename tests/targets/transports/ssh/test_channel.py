"""A command over a channel: what a login shell prints before it, signals by name, a link that breaks."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.process import Kept
from targets.session import UNNAMED_SIGNAL, CommandFailed, Unreachable
from targets.target import Target
from targets.transports import connect
from targets.transports.ssh.channel import MAX_NOISE_BYTES, MarkedStream


@given(st.binary(max_size=40), st.binary(max_size=40), st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_what_comes_before_the_mark_is_noise_however_it_is_cut(noise: bytes, content: bytes, cuts: list[int]) -> None:
    stream = MarkedStream("ASSAY0123", Kept(1000))
    whole = noise + b"ASSAY0123 42\n" + content
    while whole:
        cut = cuts[len(whole) % len(cuts)]
        stream.add(whole[:cut])
        whole = whole[cut:]
    assert (stream.pid, bytes(stream.kept.data)) == (42, content)


def test_noise_without_end_is_refused() -> None:
    stream = MarkedStream("ASSAY0123", Kept(1000))
    with pytest.raises(CommandFailed, match="start-up files"):
        for _ in range(100):
            stream.add(b"x" * (MAX_NOISE_BYTES // 50))


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
