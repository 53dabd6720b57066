"""A session's watch on its device (`WATCH` in `targets/shell.py`): who the device is, and the end of what it runs."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from targets.conversation import MAX_NOISE_BYTES, START_S, Channel
from targets.session import CommandFailed, Unreachable
from targets.shell import PROBE, WATCH, command_line
from targets.target import Target

ANSWER_S = 60.0
"""For the end of what does not want to end."""
SILENCE_S = 12.0
"""After so long without an answer to a question the device counts as gone.

An answer takes no new process, no file and no memory: a shell that sleeps in `read` wakes and writes a line, and the kernel prefers who slept to
who computes. Measured: at most 1 s on an emulated board of one core with 32 busy loops, on a host with five times more to do than it can.
"""
BYE_S = 5.0
GREETING_WORDS = 8


@dataclass
class Watch:
    """Its channel, and what it said of the device."""

    channel: Channel
    run_id: str
    """Of the session: the beginning of the run ids of its commands."""
    boot_id: str
    folder: str
    """The work directory, resolved."""
    path: str
    home: str
    temporary: str
    system: tuple[str, ...]
    """`NAME=value` of what the system's own programs need to find themselves; empty but on Android."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def term(self, group: int) -> None:
        with self._lock:
            self.channel.send(b"term %d -\n" % group)

    def end(self, group: int, run: str) -> None:
        """Kill what is left of a command, whether it stayed in its group or not, and wait until it is gone."""
        if self._asked(b"end %d %b\n" % (group, run.encode()), 2, ANSWER_S) != b"here\ngone":
            raise CommandFailed("a process on the device cannot be killed; switch the device off and on")

    def check(self, spare_s: float = 0.0) -> None:
        """Unreachable where the device answers no more, though nobody said that the link broke."""
        self._asked(b"ping - -\n", 1, SILENCE_S + spare_s)

    def _asked(self, question: bytes, lines: int, timeout_s: float) -> bytes:
        """The answer, the first line of which is said at once."""
        with self._lock:
            self.channel.send(question)
            return heard(self.channel, b"", b"\n", lines, timeout_s, timeout_s if lines == 1 else SILENCE_S)


@contextmanager
def watching(channel: Channel, mark: str) -> Iterator[Watch]:
    """Greet a watch that has just been started (`watch_line`).

    At the end it kills what the session left running, and so it does if the connection breaks.
    """
    try:
        greeting = heard(channel, mark.encode(), b"\0", GREETING_WORDS, START_S)
        run_id, boot_id, folder, path, home, temporary, system, probe = greeting.decode("utf-8", "surrogateescape").split("\0")
        if probe != PROBE:
            raise CommandFailed("the account's login shell does not read quotes as POSIX says; make it /bin/sh (chsh)")
        yield Watch(channel, run_id.partition("\n")[2], boot_id, folder, path, home, temporary, tuple(system.splitlines()))
        with suppress(OSError, Unreachable):  # a link that broke is the watch's sign to do the same
            channel.send(b"bye - -\n")
            heard(channel, b"", b"bye\n", 1, BYE_S)
    finally:
        channel.close()


def new_mark() -> str:
    """A word that no one says by chance."""
    return f"ASSAY{secrets.token_hex(8)}"


def watch_line(target: Target, mark: str) -> bytes:
    """The command line that starts a watch in the target's work directory."""
    return command_line(
        ["sh", "-c", WATCH, "assay", mark, target.work_dir, target.name, str(target.max_disk_bytes // 1000), PROBE],
    )


def heard(
    channel: Channel, start: bytes, terminator: bytes, count: int, timeout_s: float, silence_s: float | None = None
) -> bytes:
    """What the watch says after `start`, up to its terminator's last of `count`; it says nothing more until it is told something.

    `silence_s`: for its first word, where that may not take as long as the last.
    """
    begun, said, errors = time.monotonic(), b"", b""
    while True:
        _, found, tail = said.partition(start) if start else (b"", b"", said)
        if (found or not start) and tail.count(terminator) >= count:
            return tail[: -len(terminator)]
        limit_s = timeout_s if said or silence_s is None else silence_s
        if time.monotonic() >= begun + limit_s:
            raise Unreachable(f"the device did not answer within {limit_s:g} s")
        out, err = channel.receive(max(0.01, begun + limit_s - time.monotonic()))
        said, errors = said + out, errors + err
        if len(said) + len(errors) > MAX_NOISE_BYTES:
            raise CommandFailed("the account's start-up files print too much; let them be silent without a terminal")
        if not out and not err and channel.is_silent:
            raise _gone(channel, said + errors)


def _gone(channel: Channel, said: bytes) -> Exception:
    """The watch ended: by its own will, with a reason, or because the link did (which its exit status raises)."""
    deadline = time.monotonic() + ANSWER_S
    while channel.exit_status is None and time.monotonic() < deadline:
        channel.receive(0.05)
    return CommandFailed(
        f"the device's shell would not begin: {said.decode('utf-8', 'replace').strip()[-500:] or 'it says nothing'}; "
        "check `work_dir`, and that the account has a login shell"
    )
