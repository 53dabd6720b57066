"""A device that says whatever it likes: nothing that we ask of one does more with it than refuse it, or keep it within bounds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from targets.facts import machine_facts, machine_key
from targets.health import check_health
from targets.lease import break_lease, leased, look
from targets.now import state
from targets.probe import described, entry, probe
from targets.session import CommandFailed, CommandResult, Session, TargetError, Unreachable
from targets.target import Target

NASTY = [
    b"",
    b"\x00",
    b"../../../../etc/passwd\n/etc/passwd\n",
    b"\x1b]0;owned\x07\x1b[2J\x1b[31m\xe2\x80\xae\n",
    b"<script>alert(1)</script>\n",
    b"0\n-1\n99999999999999999999999999\n1e999\nnan\n",
    b"==> /proc/cpuinfo <==\nprocessor : 0\n" * 3,
    b"place /x\nboot 8ea67384-35b2-44d6-b384-07c48280904e\nuptime 1\nmachine \nsession 1.2.3\ntop 999999999999 alive\nline x\n",
    b"place /x\nboot 8ea67384-35b2-44d6-b384-07c48280904e\nuptime 1\nmachine \nsession 1.2.3\ntop \nline \n",
    b"held\n",
    b"theirs \x1b[31m" + b"9" * 5000,
    b"\xff\xfe" * 300,
    b":" * (1 << 17),
    b"/sys/devices/system/cpu/cpufreq/policy0\n/sys/class/thermal/thermal_zone0\n/sys/devices/system/cpu/cpu0\n/sys/class/power_supply/b\n",
    b"a: b\n{}[]'\"`$(touch hacked);|&\n",
]
ECHOES = [b"9" * 5000, b"-" + b"9" * 400, "²".encode(), b"nan", b"../..", b"\x1b[31m", b":" * 5000]
"""Said of each file that is asked for."""
ANSWERS = st.one_of(
    st.sampled_from(NASTY),
    st.binary(max_size=200),
    st.just(b"endless"),
    st.sampled_from(ECHOES).map(lambda value: b"echo" + value),
)


class Liar:
    """A session whose every answer is drawn; what a transport promises it keeps: output within its limit."""

    python = "python3"

    def __init__(self, answers: Sequence[bytes], statuses: Sequence[int]) -> None:
        self.answers, self.statuses = answers, statuses
        self.asked = 0

    def _next(self, limit: int, argv: Sequence[str] = ()) -> bytes:
        self.asked += 1
        if self.asked > 2000:
            raise Unreachable("it was asked without end")
        answer = self.answers[self.asked % len(self.answers)]
        if answer == b"endless":
            answer = b"0123456789" * ((1 << 18) // 10)
        if answer.startswith(b"echo"):
            answer = b"\n".join(word.encode() + b":" + answer.removeprefix(b"echo") for word in argv)
        return answer[:limit]

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        max_output_bytes: int = 16 << 20,
    ) -> CommandResult:
        status = self.statuses[self.asked % len(self.statuses)]
        return CommandResult(tuple(argv), status, self._next(max_output_bytes, argv), b"\x1b[31m" * 100, 0.0)

    def push(self, source: Path, destination: str) -> None: ...

    def pull(self, source: str, *, max_bytes: int) -> bytes:
        answer = self._next(max_bytes + 1)
        if len(answer) > max_bytes:
            raise CommandFailed("larger than was expected")
        return answer

    def remove(self, path: str) -> None: ...

    def behind(self, words: Sequence[str]) -> Session:
        return self


TARGET = Target("shed", transport="ssh", isa="aarch64", address="shed")


def have_lease(session: Session) -> str:
    with leased(session, TARGET, wait_s=0.0) as held:
        held.session.run(["true"], timeout_s=1)
    return held.lease.device


def probed(session: Session) -> str:
    found = probe(session, ["onnxruntime"])
    text = entry(described(TARGET, found), found)
    assert all(line.isprintable() for line in text.splitlines()), text
    return text


QUESTIONS: dict[str, Callable[[Session], object]] = {
    "facts": machine_facts,
    "machine key": lambda session: machine_key(machine_facts(session)),
    "state": state,
    "probe": probed,
    "look": lambda session: look(session, TARGET).is_free,
    "lease": have_lease,
    "break": lambda session: break_lease(session, TARGET).is_free,
    "health": lambda session: check_health(session, "shed"),
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answers=st.lists(ANSWERS, min_size=1, max_size=6),
    statuses=st.lists(st.sampled_from([0, 0, 0, 1, 97, 127, -9]), min_size=1, max_size=3),
)
def test_a_liar_is_refused_or_believed_within_bounds(
    monkeypatch: pytest.MonkeyPatch, question: Callable[[Session], object], answers: list[bytes], statuses: list[int]
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    liar = Liar(answers, statuses)
    try:
        said = question(liar)
    except TargetError as error:
        assert len(str(error)) < 8000
    else:
        assert len(json.dumps(said)) < 1 << 22
    assert liar.asked <= 2000
