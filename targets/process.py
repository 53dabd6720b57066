"""One command in a process group of its own: a deadline, bounded output, nothing of it left behind.

What left the group is found where the environment names the run (`targets/runs.py`).
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from targets import interrupt, runs
from targets.session import CommandFailed, CommandResult, check_command

GRACE_S = 1.0
"""Between SIGTERM and SIGKILL."""
DRAIN_S = 1.0
"""How long output is still read after the end of a command, in case a process that left the group holds the pipe open."""
CHUNK_BYTES = 1 << 16
TICK_S = 0.05


Launch = Callable[[Sequence[str], Path, Mapping[str, str]], Sequence[str]]
"""(command, folder, environment) -> what this machine executes for it. An OSError is what a kernel would have said."""


def as_it_is(argv: Sequence[str], _folder: Path, _environment: Mapping[str, str]) -> Sequence[str]:
    return argv


@dataclass
class Kept:
    """The first `limit` bytes of a stream; the rest is read, so that the writer does not block, and thrown away."""

    limit: int
    data: bytearray = field(default_factory=bytearray)
    truncated: bool = False

    def add(self, chunk: bytes) -> None:
        room = self.limit - len(self.data)
        self.data += chunk[:room]
        self.truncated |= len(chunk) > room


def run_group(
    argv: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    timeout_s: float,
    stdin: bytes = b"",
    max_output_bytes: int = 16 << 20,
    launch: Launch = as_it_is,
) -> CommandResult:
    """Run to the end or to the deadline. When the command itself ends, what is left of its group is killed.

    A program that is not there is exit status 127 and one that cannot be executed 126, as over a shell. `max_output_bytes` holds
    for each of the two streams.
    """
    started = time.monotonic()
    check_command(argv, environment)
    run = environment.get(runs.VARIABLE)
    stdout, stderr = Kept(max_output_bytes), Kept(max_output_bytes)
    try:
        process = subprocess.Popen(
            list(launch(argv, folder, environment)),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        if str(error.filename) == str(folder) and not folder.is_dir():
            raise CommandFailed(f"the work directory {folder} cannot be entered: {error.strerror}; connect again") from error
        status = 127 if isinstance(error, FileNotFoundError) else 126
        message = f"{argv[0]}: {error.strerror}\n".encode(errors="replace")
        return CommandResult(tuple(argv), status, b"", message, time.monotonic() - started)
    except BaseException:  # an interrupt may come when the command runs already and its number is not told yet
        if run is not None:
            runs.slay(run)
        raise
    try:
        timed_out = _converse(process, stdin, stdout, stderr, started + timeout_s, run)
    finally:
        _end(process)
    return CommandResult(
        tuple(argv),
        process.returncode,
        bytes(stdout.data),
        bytes(stderr.data),
        time.monotonic() - started,
        timed_out,
        stdout.truncated or stderr.truncated,
    )


def _converse(
    process: subprocess.Popen[bytes], stdin: bytes, stdout: Kept, stderr: Kept, deadline: float, run: str | None
) -> bool:
    """Feed and read the process until it ends; True if it had to be ended."""
    timed_out = False
    idle_s = 0.001
    with selectors.DefaultSelector() as selector:
        try:
            streams = _Streams(selector, process, stdin, stdout, stderr)
            while not _has_exited(process):
                interrupt.check()
                now = time.monotonic()
                if now >= deadline:
                    _signal_group(process, signal.SIGKILL if timed_out else signal.SIGTERM)
                    timed_out, deadline = True, now + GRACE_S
                if selector.get_map():
                    wait_s = TICK_S
                else:  # only the exit is awaited, and mostly follows within a millisecond
                    wait_s, idle_s = idle_s, min(2 * idle_s, TICK_S)
                streams.turn(min(wait_s, deadline - now))
        finally:
            _kill(process, run)
        drained = time.monotonic() + DRAIN_S
        while selector.get_map() and time.monotonic() < drained:
            streams.turn(TICK_S)
    return timed_out


class _Streams:
    """The three pipes of a process behind one selector; each is closed and forgotten at its end."""

    def __init__(
        self, selector: selectors.BaseSelector, process: subprocess.Popen[bytes], stdin: bytes, stdout: Kept, stderr: Kept
    ) -> None:
        assert process.stdin and process.stdout and process.stderr
        self.selector = selector
        self.unsent = memoryview(stdin)
        for pipe in (process.stdin, process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
        selector.register(process.stdout, selectors.EVENT_READ, stdout)
        selector.register(process.stderr, selectors.EVENT_READ, stderr)
        if stdin:
            selector.register(process.stdin, selectors.EVENT_WRITE)
        else:
            process.stdin.close()

    def turn(self, timeout_s: float) -> None:
        """Wait until a pipe is ready, at most `timeout_s`, and move what can be moved."""
        for key, _events in self.selector.select(timeout_s):
            pipe = key.fileobj
            assert not isinstance(pipe, int)
            if isinstance(key.data, Kept):
                chunk = os.read(key.fd, CHUNK_BYTES)
                key.data.add(chunk)
                ended = not chunk
            else:
                ended = self._send(key.fd)
            if ended:
                self.selector.unregister(pipe)
                pipe.close()  # type: ignore[attr-defined]  # a selector knows its file objects by fileno alone

    def _send(self, fd: int) -> bool:
        try:
            self.unsent = self.unsent[os.write(fd, self.unsent[:CHUNK_BYTES]) :]
        except BrokenPipeError:  # the command does not want the rest
            return True
        return not self.unsent


def _has_exited(process: subprocess.Popen[bytes]) -> bool:
    """Without reaping: until then its number, which is the group's, cannot be given to a stranger."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # none left; macOS says EPERM when only the unreaped leader is
        return


def _kill(process: subprocess.Popen[bytes], run: str | None) -> None:
    _signal_group(process, signal.SIGKILL)
    if run is not None:
        runs.slay(run)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the command's group, reap it, and wait until the rest has gone too."""
    _signal_group(process, signal.SIGKILL)
    process.wait()
    pipes: tuple[IO[bytes] | None, ...] = (process.stdin, process.stdout, process.stderr)
    for pipe in pipes:
        if pipe is not None:
            pipe.close()
    gone = time.monotonic() + GRACE_S
    while _is_alive(process.pid) and time.monotonic() < gone:
        time.sleep(0.001)


def _is_alive(group: int) -> bool:
    """Whether anything of the group still runs; the dead that no one has reaped (a container's init may not) do not count."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return any(_is_member(stat, group) for stat in Path("/proc").glob("[0-9]*/stat"))


def _is_member(stat: Path, group: int) -> bool:
    """From `pid (name) state parent group ...`; a name may hold anything, so the last parenthesis counts."""
    try:
        state, _parent, member_of = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return int(member_of) == group and state not in "ZX"
