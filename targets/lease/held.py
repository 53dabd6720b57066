"""A lease that is held: renewed by a thread, looked at before all that is done under it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from targets.lease.scripts import FENCE, REFUSED, WRITE
from targets.over_shell import OverShell
from targets.session import CommandFailed, CommandResult, Session, TargetError

ANSWER_S = 30.0
TAKEN = "another has taken it, or the device was started again"


class LeaseLost(TargetError):  # noqa: N818 - says what happened
    """The device is another's now, or may be: what was going on there is void."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who has a device. The token grows with each lease of the device: a store refuses one that is lower than it has seen."""

    device: str
    token: int
    holder: str

    def document(self) -> dict[str, Any]:
        """As records and journalled launches carry it."""
        return asdict(self)


class Held:
    """What `leased` yields. Any thread may use it."""

    def __init__(self, name: str, session: Session, lease: Lease, mine: Sequence[str], expiry_s: float) -> None:
        """`mine`: the words by which the device tells this lease from others."""
        self.lease = lease
        self._name, self._own, self._mine, self._expiry_s = name, session, tuple(mine), expiry_s
        self._behind = session.behind(["sh", "-c", FENCE, "sh", *mine])
        self._lost: str | None = None
        self._stop = threading.Event()
        self.session: Session = _Fenced(self, self._behind)
        """Refuses everything once the lease is lost: LeaseLost."""

    def check(self) -> None:
        """LeaseLost unless the device still says that the lease is ours."""
        self._require()
        if self._behind.run(["true"], timeout_s=ANSWER_S).exit_status == REFUSED:
            self._lost = self._lost or TAKEN
        self._require()

    def _require(self) -> None:
        if self._lost is not None:
            raise LeaseLost(
                f"target {self._name}: the lease (token {self.lease.token}) is lost: {self._lost}. "
                "What was going on there counts for nothing; run again (`assay lease list` says who has the device)"
            )

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """In this block a thread renews the lease at a third of its time; at the end it is given up."""
        thread = threading.Thread(target=self._renew, name=f"lease of {self._name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
            self.give_up()

    def give_up(self) -> None:
        """A device that does not answer is left to find out: by the end of the session, or by the lease's time."""
        if self._lost is None:
            self._lost = "it was given up"
            with suppress(TargetError):
                self._write("free")

    def _renew(self) -> None:
        renewed, pause_s = time.monotonic(), self._expiry_s / 3
        while not self._stop.wait(pause_s):
            started = time.monotonic()
            try:
                status = self._write("held").exit_status
                said = f"exit status {status}"
            except TargetError as error:
                status, said = -1, str(error)
            if status == 0:
                renewed, pause_s = started, self._expiry_s / 3
                continue
            if status == REFUSED:
                self._lost = TAKEN
            elif time.monotonic() - renewed > self._expiry_s:
                self._lost = f"it could not be renewed for {self._expiry_s:g} s ({said})"
            if self._lost is not None:
                return
            pause_s = self._expiry_s / 12

    def _write(self, state: str) -> CommandResult:
        return self._own.run(["sh", "-c", WRITE, "sh", *self._mine, state, str(int(self._expiry_s))], timeout_s=ANSWER_S)


class _Fenced:
    """A session behind the fence. What it does without a command (files of this machine) comes right after a look at the lease."""

    def __init__(self, held: Held, behind: Session) -> None:
        self._held, self._behind = held, behind

    @property
    def python(self) -> str:
        return self._behind.python

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        max_output_bytes: int = 16 << 20,
    ) -> CommandResult:
        self._held._require()
        result = self._behind.run(
            argv, timeout_s=timeout_s, stdin=stdin, environment=environment, max_output_bytes=max_output_bytes
        )
        if result.exit_status != 0:  # the fence's refusal, a kill by who came next, or the command's own
            self._held.check()
        return result

    def push(self, source: Path, destination: str) -> None:
        with self._checked():
            self._behind.push(source, destination)

    def pull(self, source: str, *, max_bytes: int) -> bytes:
        with self._checked():
            return self._behind.pull(source, max_bytes=max_bytes)

    def remove(self, path: str) -> None:
        with self._checked():
            self._behind.remove(path)

    def behind(self, words: Sequence[str]) -> Session:
        return _Fenced(self._held, self._behind.behind(words))

    @contextmanager
    def _checked(self) -> Iterator[None]:
        if isinstance(self._behind, OverShell):  # its files come and go by commands, which are behind the fence themselves
            self._held._require()
        else:
            self._held.check()
        try:
            yield
        except CommandFailed:
            self._held.check()
            raise
