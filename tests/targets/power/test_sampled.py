"""Files read over and over by a program on the device: every value with its time, what cannot be read left out, and the end when it is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers.ssh import Sshd

from targets.power import sampled as module
from targets.power.sampled import Readings, sampled
from targets.power.trace import NoTrace, Trace
from targets.session import CommandResult, Session, Unreachable
from targets.target import Target
from targets.transports import connect


@pytest.fixture(params=["python", "shell"])
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    with connect(Target("local", python="none" if request.param == "shell" else "")) as found:
        yield found


def kept(
    session: Session, files: list[str], seconds: float, rate_hz: float = 100.0, **change: Any
) -> tuple[list[Readings], NoTrace]:
    """What the program read, and what became of the recording."""
    found: list[Readings] = []

    def trace(readings: Readings) -> Trace | NoTrace:
        found.append(readings)
        return NoTrace("made by the test")

    with sampled(session, files, rate_hz, trace) as recording:
        time.sleep(seconds)
    assert isinstance(recording.trace, NoTrace)
    return found, recording.trace


def test_values_come_with_the_devices_time(session: Session, tmp_path: Path) -> None:
    one, two = tmp_path / "a file", tmp_path / "two"
    one.write_text("-17\n")
    two.write_text("4000000000\nmore\n")
    before_s = time.monotonic()
    (readings,), _ = kept(session, [str(one), str(two)], 0.5)
    assert len(readings.time_s) > 3 and readings.unread == 0
    assert (readings.values == [-17.0, 4e9]).all()
    assert (
        before_s - 0.02 <= readings.time_s[0]
        and readings.time_s[-1] <= time.monotonic()
        and (np.diff(readings.time_s) >= 0).all()
    )
    assert (readings.offset is None) == (session.python != "none"), "a shell's clock is coarse, and says so"


def test_what_cannot_be_read_is_no_row(session: Session, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("unknown\n")
    for name in ("word", "absent"):
        (readings,), _ = kept(session, [str(tmp_path / name)], 0.2)
        assert len(readings.time_s) == 0 and readings.values.shape == (0, 1) and readings.unread > 0


def test_nothing_of_it_stays_on_the_device(session: Session, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1\n")
    kept(session, [str(tmp_path / "one")], 0.1)
    assert session.run(["find", "requests", "-mindepth", "1"], timeout_s=10).stdout == b""


def test_it_ends_at_its_own_limit(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT_S", 1.0)
    (tmp_path / "one").write_text("1\n")
    (readings,), _ = kept(session, [str(tmp_path / "one")], 3.0)
    assert readings.time_s[-1] - readings.time_s[0] <= 2.0


@pytest.mark.peers
def test_it_reads_over_a_connection_that_is_used_meanwhile(
    busybox_sshd: Sshd, ssh_target: Callable[[Sshd], Target], tmp_path: Path
) -> None:
    (tmp_path / "one").write_text("1\n")
    with connect(replace(ssh_target(busybox_sshd), python="none")) as far:
        found: list[Readings] = []

        def keep(readings: Readings) -> NoTrace:
            found.append(readings)
            return NoTrace("made by the test")

        with sampled(far, [str(tmp_path / "one")], 50.0, keep):
            for _ in range(10):
                assert far.run(["echo", "here"], timeout_s=30).stdout == b"here\n"
            time.sleep(0.3)
        assert far.run(["find", "requests", "-mindepth", "1"], timeout_s=30).stdout == b""
    assert len(found) == 1 and len(found[0].time_s) > 3 and found[0].offset is not None


class Broken:
    """A session whose sampler ends in a way of its own."""

    python = "python3"

    def __init__(self, session: Session, ending: CommandResult | Exception) -> None:
        self._session, self._ending = session, ending

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, argv: Any, **options: Any) -> CommandResult:
        if isinstance(self._ending, Exception):
            raise self._ending
        return self._ending


def ended(stdout: bytes, exit_status: int = 0, *, truncated: bool = False) -> CommandResult:
    return CommandResult(("sampler",), exit_status, stdout, b"no python", 1.0, False, truncated)


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (Unreachable("the link broke"), "the link broke"),
        (ended(b"", 127), "exit status 127: no python"),
        (ended(b""), "exit status 0"),
        (ended(b"0 0\n1.0 5\n", truncated=True), "more than is kept"),
        (ended(b"2 17.05\n17.06 5\n"), "has slept"),
        (ended(b"0 0\n2.0 5\n1.0 5\n"), "backwards"),
    ],
    ids=["unreachable", "no_program", "silence", "truncated", "slept", "backwards"],
)
def test_what_fails_is_no_trace_with_the_reason(ending: CommandResult | Exception, said: str) -> None:
    with connect(Target("local")) as session:
        found, trace = kept(Broken(session, ending), ["/x"], 0.0)
    assert not found and said in trace.reason


def test_spoiled_lines_are_left_out_and_counted() -> None:
    lines = b"0 0\n1.0 5\n1.5 5 6\n2.0 -\n\n2.5 inf\n3.0 0x5\nnan 5\n4.0 6\n"
    with connect(Target("local")) as session:
        (readings,), _ = kept(Broken(session, ended(lines)), ["/x"], 0.0)
    assert readings.time_s.tolist() == [1.0, 4.0] and readings.values[:, 0].tolist() == [5.0, 6.0] and readings.unread == 6
