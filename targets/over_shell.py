"""A session with a device that has a POSIX shell and a way to run command lines in it; transports differ in that way alone."""

from __future__ import annotations

import copy
import io
import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from targets import files, runs
from targets.conversation import Channel, Conversation, MarkedStream
from targets.process import Kept
from targets.session import CommandFailed, CommandResult, check_command
from targets.shell import START, command_line
from targets.target import Target
from targets.watch import Watch, new_mark, watch_line, watching


class Link(Protocol):
    """A connection to a device's shell."""

    def open(self, line: bytes, input_bytes: int | None, max_output_bytes: int) -> Channel:
        """Begin a command line. `input_bytes`: how much input it will be sent (None: until its channel is closed)."""

    def told(self) -> AbstractContextManager[None]:
        """Every way in which the transport fails, in words that say what to do."""


@contextmanager
def session_over(link: Link, target: Target) -> Iterator[OverShell]:
    """A session in the target's work directory, made if it is not there."""
    with ExitStack() as stack:
        with link.told():  # the beginning alone: what goes wrong in the caller's own body is not for us to explain
            mark = new_mark()
            watch = stack.enter_context(watching(link.open(watch_line(target, mark), None, 0), mark))
        yield OverShell(target, link, watch)


class OverShell:
    """See `targets.session.Session`. One connection; several threads may use it."""

    def __init__(self, target: Target, link: Link, watch: Watch) -> None:
        self.name = target.name
        self.python = target.python or "python3"
        self.boot_id = watch.boot_id
        self.run_id = watch.run_id
        self.max_disk_bytes = target.max_disk_bytes
        self._max_run_s = target.max_run_s
        self._link, self._watch = link, watch
        self._numbers = itertools.count(1)
        self._first: tuple[str, ...] = ()

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        max_output_bytes: int = 16 << 20,
    ) -> CommandResult:
        limit_s = timeout_s if self._max_run_s is None else min(timeout_s, self._max_run_s)
        return self._run(argv, limit_s, io.BytesIO(stdin), environment or {}, max_output_bytes)

    def push(self, source: Path, destination: str) -> None:
        files.push(self, source, destination)

    def pull(self, source: str, *, max_bytes: int) -> bytes:
        return files.pull(self, source, max_bytes)

    def remove(self, path: str) -> None:
        files.remove(self, path)

    def behind(self, words: Sequence[str]) -> OverShell:
        behind = copy.copy(self)
        behind._first = (*self._first, *words)
        return behind

    def script(self, text: str, *words: str, stdin: BinaryIO, timeout_s: float, max_output_bytes: int = 1 << 16) -> CommandResult:
        """Run a shell script in the work directory with these words as its arguments."""
        return self._run(["sh", "-c", text, "sh", *words], timeout_s, stdin, {}, max_output_bytes)

    def _run(
        self, argv: Sequence[str], timeout_s: float, stdin: BinaryIO, environment: Mapping[str, str], max_output_bytes: int
    ) -> CommandResult:
        check_command(argv, environment)
        run, mark, watch = f"{self.run_id}.{next(self._numbers):06d}", new_mark(), self._watch
        own = {"PATH": watch.path, "HOME": watch.home, "LANG": "C.UTF-8", "TMPDIR": watch.temporary}
        variables = own | dict(environment) | {runs.VARIABLE: run}
        words = [*watch.system, *(f"{key}={value}" for key, value in variables.items())]
        line = command_line(["sh", "-c", START, "assay", watch.folder, mark, *words, *self._first, *_program(argv)])
        out, err = MarkedStream(mark, Kept(max_output_bytes)), MarkedStream(mark, Kept(max_output_bytes))

        def end(group: int, hard: bool) -> None:
            if hard:
                watch.end(group, run)
            else:
                watch.term(group)

        started = time.monotonic()
        with self._link.told():
            channel = self._link.open(line, _size(stdin), max_output_bytes)
            ended = Conversation(channel, stdin, out, err).until_end(timeout_s, end, watch.check)
            if out.pid is None:
                said = " ".join((out.noise + err.noise).decode("utf-8", "replace").split())[-500:]
                raise CommandFailed(f"the work directory {watch.folder} cannot be entered: {said}; connect again")
        return CommandResult(
            tuple(argv),
            ended.exit_status,
            bytes(out.kept.data),
            bytes(err.kept.data),
            time.monotonic() - started,
            ended.timed_out,
            out.kept.truncated or err.kept.truncated,
        )


def _size(stdin: BinaryIO) -> int:
    size = stdin.seek(0, os.SEEK_END)
    stdin.seek(0)
    return size


def _program(argv: Sequence[str]) -> list[str]:
    """`env` would take a first word that holds `=` for a variable."""
    return ["sh", "-c", 'exec "$@"', "sh", *argv] if "=" in argv[0] else list(argv)
