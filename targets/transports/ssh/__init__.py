"""A device over SSH (OpenSSH or dropbear): a POSIX shell and busybox's tools are all that it needs.

    with connect(Target("pi", transport="ssh", address="pi.local", user="pi", isa="aarch64")) as session:
        session.push(Path("model.onnx"), "model.onnx")
        session.run(["sha256sum", "model.onnx"], timeout_s=10)

Host keys must be known before (known_hosts); ~/.ssh/config, agents, certificates and jump hosts are honoured.
"""

from __future__ import annotations

import io
import itertools
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from targets import files, runs
from targets.process import Kept
from targets.session import CommandFailed, CommandResult, check_command
from targets.shell import START, command_line
from targets.target import Target
from targets.transports.ssh.channel import Conversation, MarkedStream
from targets.transports.ssh.connection import Transport, connected, told
from targets.transports.ssh.watch import Watch, watching

__all__ = ["connect"]


@contextmanager
def connect(target: Target) -> Iterator[SshSession]:
    """A session in the target's work directory, made if it is not there."""
    with connected(target) as transport, ExitStack() as stack:
        with told(
            f"target {target.name}"
        ):  # the beginning alone: what goes wrong in the caller's own body is not for us to explain
            watch = stack.enter_context(watching(transport, target))
        yield SshSession(target, transport, watch)


class SshSession:
    """See `targets.session.Session`. One connection; several threads may use it."""

    def __init__(self, target: Target, transport: Transport, watch: Watch) -> None:
        self.name = target.name
        self.python = target.python or "python3"
        self.boot_id = watch.boot_id
        self.run_id = watch.run_id
        self.max_disk_bytes = target.max_disk_bytes
        self._max_run_s = target.max_run_s
        self._transport, self._watch = transport, watch
        self._numbers = itertools.count(1)

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

    def script(self, text: str, *words: str, stdin: BinaryIO, timeout_s: float, max_output_bytes: int = 1 << 16) -> CommandResult:
        """Run a shell script in the work directory with these words as its arguments."""
        return self._run(["sh", "-c", text, "sh", *words], timeout_s, stdin, {}, max_output_bytes)

    def _run(
        self, argv: Sequence[str], timeout_s: float, stdin: BinaryIO, environment: Mapping[str, str], max_output_bytes: int
    ) -> CommandResult:
        check_command(argv, environment)
        run = f"{self.run_id}.{next(self._numbers):06d}"
        mark = f"ASSAY{secrets.token_hex(8)}"
        variables = {
            "PATH": self._watch.path,
            "HOME": self._watch.home,
            "LANG": "C.UTF-8",
            "TMPDIR": self._watch.temporary,
            **environment,
            runs.VARIABLE: run,
        }
        words = [f"{key}={value}" for key, value in variables.items()]
        line = command_line(["sh", "-c", START, "assay", self._watch.folder, mark, *words, *_program(argv)])
        out, err = MarkedStream(mark, Kept(max_output_bytes)), MarkedStream(mark, Kept(max_output_bytes))

        def end(group: int, hard: bool) -> None:
            if hard:
                self._watch.end(group, run)
            else:
                self._watch.term(group)

        started = time.monotonic()
        with told(f"target {self.name}"):
            ended = Conversation(self._transport, line, stdin, out, err).until_end(timeout_s, end)
            if out.pid is None:
                said = " ".join((out.noise + err.noise).decode("utf-8", "replace").split())[-500:]
                raise CommandFailed(f"the work directory {self._watch.folder} cannot be entered: {said}; connect again")
        return CommandResult(
            tuple(argv),
            ended.exit_status,
            bytes(out.kept.data),
            bytes(err.kept.data),
            time.monotonic() - started,
            ended.timed_out,
            out.kept.truncated or err.kept.truncated,
        )


def _program(argv: Sequence[str]) -> list[str]:
    """`env` would take a first word that holds `=` for a variable."""
    return ["sh", "-c", 'exec "$@"', "sh", *argv] if "=" in argv[0] else list(argv)
