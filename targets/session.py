"""A live connection to a device: the one contract that every transport keeps, and the errors it may raise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class TargetError(Exception):
    """The device or the way to it is at fault. The message says what happened, where, and what to do."""


class Unreachable(TargetError):  # noqa: N818 - the status it becomes
    """Transient: the device does not answer. Retried, then recorded."""


class Invalid(TargetError):  # noqa: N818 - the status it becomes
    """Transient: the device answers, but what it does just now counts for nothing (it rebooted, it throttles). Retried, then recorded."""


class CommandFailed(TargetError):  # noqa: N818 - says what failed
    """Stable: the device answered and refused (no space, no permission, a path that cannot be). Never retried."""


UNNAMED_SIGNAL = -127
"""The exit status of a command that was killed by a signal for which the transport has no name."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command on the device ended. A non-zero exit status is an answer, not an exception."""

    argv: tuple[str, ...]
    exit_status: int
    """Negative: killed by that signal."""
    stdout: bytes
    stderr: bytes
    duration_s: float
    timed_out: bool = False
    truncated: bool = False
    """Output beyond the limit was read and thrown away."""


def check_command(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    """CommandFailed for what no system can run."""
    if not argv or any("\0" in word for word in argv):
        raise CommandFailed(f"cannot run {list(argv)!r}: a command is at least one word, and no word holds a NUL byte")
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name + value:
            raise CommandFailed(f"cannot run {argv[0]!r}: {name!r}={value!r} cannot be an environment variable")


class Session(Protocol):
    """What a transport's `connect(target)` yields. Paths are relative to the session's work directory on the device."""

    @property
    def python(self) -> str:
        """The interpreter that runs the Python runner on this device."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        max_output_bytes: int = 16 << 20,
    ) -> CommandResult:
        """Run a command in the work directory; at the timeout its whole process group is ended on the device, gently, then for good.

        The command sees a small clean environment plus what is asked. When it ends, and when the session does, however it does, all
        that it started and left running is killed, also what went into a group or session of its own.
        A program that is not there is exit status 127, as over a shell. `max_output_bytes` holds for each of the two streams:
        more is read and thrown away.
        """

    def push(self, source: Path, destination: str) -> None:
        """Copy a file: free space first, temporary name, sha256 computed on the device, atomic rename.

        The owner may execute it if the source's owner may. An unchanged file is not sent again.
        A name that leads out of the work directory is CommandFailed, here and below.
        """

    def pull(self, source: str, *, max_bytes: int) -> bytes:
        """Read a file of the device; larger than `max_bytes` is CommandFailed."""

    def remove(self, path: str) -> None:
        """Delete a file or a folder with all in it; absent is fine."""

    def behind(self, words: Sequence[str]) -> Session:
        """The same connection, each of whose commands is started on the device by these words, a program that may refuse to.

        So are files where they go through a shell. That is how a lease keeps out who has lost it (`targets/lease/`).
        """
