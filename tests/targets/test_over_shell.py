"""A session over this machine's own shell, by pipes: what every transport with a shell shares. The contract is tested on each of them."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from targets import conversation, watch
from targets.conversation import Heard
from targets.over_shell import session_over
from targets.session import CommandFailed, TargetError, Unreachable
from targets.shell import WATCH
from targets.target import Target


class PipeChannel:
    """A command line in /bin/sh."""

    def __init__(self, line: bytes, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", line], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, bufsize=0,
        )  # fmt: skip
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self.input, self.pipes = self.process.stdin, [self.process.stdout, self.process.stderr]
        self.open = list(self.pipes)

    def send(self, data: bytes) -> None:
        while data:
            data = data[self.input.write(data) :]

    def end_input(self) -> None:
        self.input.close()

    def receive(self, timeout_s: float) -> Heard:
        found = dict.fromkeys(self.pipes, b"")
        for pipe in select.select(self.open, [], [], timeout_s)[0]:
            found[pipe] = os.read(pipe.fileno(), 1 << 16)
            if not found[pipe]:
                self.open.remove(pipe)
        return Heard(*found.values())

    @property
    def is_silent(self) -> bool:
        return not self.open

    @property
    def exit_status(self) -> int | None:
        return self.process.poll()

    def close(self) -> None:
        for pipe in (self.input, *self.pipes):
            pipe.close()
        self.process.wait(30)


@dataclass
class PipeLink:
    environment: dict[str, str]
    cut: bool = False

    def open(self, line: bytes, _input_bytes: int | None, _max_output_bytes: int) -> PipeChannel:
        if self.cut:
            raise Unreachable("the link is cut")
        return PipeChannel(line, self.environment)

    @contextmanager
    def told(self) -> Iterator[None]:
        try:
            yield
        except TargetError as error:
            raise type(error)(f"told: {error}") from error


@pytest.fixture
def link() -> PipeLink:
    return PipeLink({"PATH": os.environ["PATH"], "HOME": "/tmp"})


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target("device", work_dir=str(tmp_path / "work"), python=sys.executable)


def test_a_command_runs_and_the_transport_explains_what_fails(link: PipeLink, target: Target) -> None:
    with session_over(link, target) as session:
        assert session.run(["cat"], timeout_s=30, stdin=b"in").stdout == b"in"
        link.cut = True
        with pytest.raises(Unreachable, match="told: the link is cut"):
            session.run(["true"], timeout_s=30)
        link.cut = False


def test_what_goes_wrong_in_the_callers_own_body_is_not_explained_by_us(link: PipeLink, target: Target) -> None:
    with pytest.raises(FileNotFoundError, match=r"^mine$"), session_over(link, target):
        raise FileNotFoundError("mine")


def test_no_command_runs_longer_than_the_inventory_allows(link: PipeLink, target: Target) -> None:
    with session_over(link, replace(target, max_run_s=0.2)) as session:
        assert session.run(["sleep", "300"], timeout_s=300).timed_out


def test_androids_own_programs_find_themselves(link: PipeLink, target: Target, tmp_path: Path) -> None:
    """`settings` and `dumpsys` need more of their environment than a clean one holds; elsewhere nothing of it is there."""
    link.environment |= {"ANDROID_ROOT": "/system", "ANDROID_DATA": str(tmp_path / "data"), "ANDROID_STORAGE": "/storage"}
    with session_over(link, replace(target, work_dir="")) as session:
        found = session.run(["env"], timeout_s=30).stdout.decode().splitlines()
        assert session.run(["pwd"], timeout_s=30).stdout.decode() == f"{tmp_path}/data/local/tmp/assay/device\n"
    assert "ANDROID_ROOT=/system" in found and not [line for line in found if "STORAGE" in line]


def test_a_boot_without_a_name_is_never_taken_for_the_last_one(
    link: PipeLink, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "WATCH", WATCH.replace("random/boot_id", "random/absent"))
    names = set()
    for _ in range(2):
        with session_over(link, target) as session:
            names.add(session.boot_id)
    assert len(names) == 2 and "" not in names


def test_silence_is_asked_after_and_a_device_that_does_not_answer_is_unreachable(
    link: PipeLink, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "QUIET_S", 0.1)
    monkeypatch.setattr(watch, "SILENCE_S", 0.3)
    monkeypatch.setattr(watch, "BYE_S", 0.1)
    with session_over(link, target) as session:
        assert session.run(["sleep", "0.5"], timeout_s=30).exit_status == 0
        pid = int(session.run_id.split(".")[1])
        try:
            os.kill(pid, 19)
            with pytest.raises(Unreachable, match=r"told: the device did not answer within 0\.3 s"):
                session.run(["sleep", "2"], timeout_s=30)
        finally:
            os.kill(pid, 18)


def test_a_slow_link_is_given_time_for_what_is_under_way(link: PipeLink, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question comes after a command's input: so much of it may be on its way."""
    spare: list[float] = []
    monkeypatch.setattr(conversation, "QUIET_S", 0.1)
    monkeypatch.setattr(watch.Watch, "check", lambda _watch, spare_s: spare.append(spare_s))
    with session_over(link, target) as session:
        for given in (b"", bytes(100_000), bytes(conversation.QUEUE_BYTES + 1)):
            session.run(["sh", "-c", "sleep 0.5; cat >/dev/null"], timeout_s=30, stdin=given)
            spare.append(-1)
    nothing, some, most = (set(part) for part in split(spare))
    assert nothing == {0.0} and max(some) == 100_000 / conversation.SLOW_BYTES_S
    assert max(most) <= conversation.QUEUE_BYTES / conversation.SLOW_BYTES_S


def split(values: list[float]) -> list[list[float]]:
    """At each -1."""
    parts: list[list[float]] = [[]]
    for value in values:
        if value < 0:
            parts.append([])
        else:
            parts[-1].append(value)
    return parts[:-1]


def test_a_watch_that_is_gone_when_a_command_ends_is_noticed_as_soon(
    link: PipeLink, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To end what is left of a command may take long, but that it was told so is answered at once."""
    monkeypatch.setattr(watch, "SILENCE_S", 0.3)
    monkeypatch.setattr(watch, "BYE_S", 0.1)
    with session_over(link, target) as session:
        pid = int(session.run_id.split(".")[1])
        try:
            os.kill(pid, 19)
            with pytest.raises(Unreachable, match=r"did not answer within 0\.3 s"):
                session.run(["true"], timeout_s=30)
        finally:
            os.kill(pid, 18)


def test_a_watch_that_ends_early_is_told_with_what_it_said(link: PipeLink, target: Target) -> None:
    link.environment["PATH"] = "/nonexistent"
    with pytest.raises(CommandFailed, match=r"told: the device's shell would not begin: .*not found"), session_over(link, target):
        pass
