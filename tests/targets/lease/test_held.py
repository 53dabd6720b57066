"""What is held: renewed while it can be, lost when it cannot, and a session like any other until then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from targets.lease import Held, Lease, LeaseLost, leased, look
from targets.lease.scripts import REFUSED
from targets.session import CommandFailed, CommandResult, Session, Unreachable
from targets.target import Target
from targets.transports import connect


@pytest.fixture
def sessions(target: Target) -> Iterator[tuple[Session, Session]]:
    """The device without a lease, and under one."""
    with connect(target) as session, leased(session, target) as held_:
        yield session, held_.session


PROGRAMS: dict[str, tuple[Sequence[str], dict[str, Any]]] = {
    "words": (["sh", "-c", 'printf "%s|" "$@"', "sh", "it's", "", "a  b", "new\nline", "$HOME `id`", "-n", "ünï"], {}),
    "status": (["sh", "-c", "echo x; echo y >&2; exit 97"], {}),
    "signal": (["sh", "-c", "kill -9 $$"], {}),
    "input": (["cat"], {"stdin": bytes(range(256)) * 1000}),
    "bounded": (["sh", "-c", "printf 0123456789"], {"max_output_bytes": 4}),
    "folder": (["pwd"], {}),
    "deadline": (["sh", "-c", "sleep 60"], {"timeout_s": 0.2}),
    "equals": (["sh", "-c", 'echo "$1"', "sh", "A=b"], {}),
}


@pytest.mark.parametrize(("argv", "options"), PROGRAMS.values(), ids=PROGRAMS)
def test_a_command_ends_under_a_lease_as_it_does_without(
    sessions: tuple[Session, Session], argv: Sequence[str], options: dict[str, Any]
) -> None:
    told = [session.run(argv, **{"timeout_s": 30.0} | options) for session in sessions]
    without, under = ((r.argv, r.exit_status, r.stdout, r.stderr, r.timed_out, r.truncated) for r in told)
    assert under == without


def test_the_environment_is_the_same_but_for_the_runs_number(sessions: tuple[Session, Session]) -> None:
    """Its size moves the stack, and so the time of what is measured."""
    told = [session.run(["env"], timeout_s=30, environment={"ASKED": "a b"}).stdout.splitlines() for session in sessions]
    without, under = (sorted(line for line in lines if not line.startswith(b"ASSAY_RUN=")) for lines in told)
    assert under == without and len(told[0]) == len(told[1])


def test_a_program_that_is_not_there_or_is_none_is_told_as_ever(sessions: tuple[Session, Session], tmp_path: Path) -> None:
    _, under = sessions
    (tmp_path / "source").write_bytes(b"text")
    under.push(tmp_path / "source", "sub/plain")
    result = under.run(["no-such-program"], timeout_s=30)
    assert result.exit_status == 127 and b"no-such-program" in result.stderr
    assert under.run(["./sub/plain"], timeout_s=30).exit_status == 126
    assert under.pull("sub/plain", max_bytes=4) == b"text"
    under.remove("sub")
    with pytest.raises(CommandFailed, match="sub/plain"):
        under.pull("sub/plain", max_bytes=4)
    assert under.python == sessions[0].python


class Broken:
    """A device whose answers the test decides."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.python = "python3"

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        max_output_bytes: int = 16 << 20,
    ) -> CommandResult:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return CommandResult(tuple(argv), answer, b"", b"", 0.0)

    def behind(self, words: Sequence[str]) -> Broken:
        return self

    def push(self, source: Path, destination: str) -> None:
        raise CommandFailed("no space")

    def pull(self, source: str, *, max_bytes: int) -> bytes:
        raise CommandFailed("no file")

    def remove(self, path: str) -> None:
        raise CommandFailed("no file")


def make(device: Broken, expiry_s: float) -> Held:
    return Held("shed", device, Lease("shed/0", 7, "me"), ["/place", "000000000001", "assay1 0", "0 7"], expiry_s)


def lost_within(held_: Held, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            held_.session.run(["true"], timeout_s=1)
        except LeaseLost as error:
            return str(error)
        except Unreachable:
            pass
        time.sleep(0.01)
    raise AssertionError("it is held still")


def test_a_device_that_does_not_answer_is_given_up_when_the_lease_must_have_ended() -> None:
    device = Broken(Unreachable("the link is cut"))
    held_ = make(device, 0.3)
    with held_.renewed():
        assert "the lease (token 7) is lost: it could not be renewed for 0.3 s (the link is cut)" in lost_within(held_, 30)
    asked = device.asked
    with pytest.raises(LeaseLost):
        held_.check()
    assert device.asked == asked, "what is lost is not asked after again"


def test_a_link_that_comes_back_in_time_costs_nothing() -> None:
    device = Broken(Unreachable("for a moment"), 1, 0)
    held_ = make(device, 0.6)
    with held_.renewed():
        time.sleep(1.2)
        held_.check()


def test_a_refusal_is_believed_at_once() -> None:
    held_ = make(Broken(REFUSED), 0.1)
    with held_.renewed():
        assert "another has taken it, or the device was started again" in lost_within(held_, 30)


def test_a_commands_own_failure_is_its_own() -> None:
    held_ = make(Broken(REFUSED, 0), 90)
    assert held_.session.run(["exit97"], timeout_s=1).exit_status == REFUSED
    with pytest.raises(CommandFailed, match="no space"):
        held_.session.push(Path("x"), "x")
    for answers in ((0, REFUSED), (REFUSED,)):
        with pytest.raises(LeaseLost):
            make(Broken(*answers), 90).session.remove("x")


def test_nothing_is_done_after_it_was_given_up(target: Target) -> None:
    with connect(target) as session:
        with leased(session, target) as held_:
            pass
        with pytest.raises(LeaseLost, match="it was given up"):
            held_.session.run(["true"], timeout_s=30)
        assert look(session, target).is_free
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("lease of")]


def test_a_renewal_leaves_no_other_file_and_keeps_the_ticket(target: Target, place: Any) -> None:
    with connect(target) as session, leased(session, target, expiry_s=3000.0) as held_:
        before = place.words()
        place.rewrite(expires="5")
        assert held_._write("held").exit_status == 0
        after = place.words()
        assert after[:6] + after[7:] == before[:6] + before[7:] and int(after[6]) >= int(before[6])
        assert [path.name for path in place.folder.iterdir()] == ["000000000001"]
