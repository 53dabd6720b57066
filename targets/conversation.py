"""One command on a device that is reached by a shell: fed, read within bounds, ended at its deadline, told apart from a link that broke."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple, Protocol

from targets import interrupt
from targets.process import DRAIN_S, GRACE_S, TICK_S, Kept
from targets.session import CommandFailed, Unreachable

CHUNK_BYTES = 1 << 18
MAX_NOISE_BYTES = 1 << 16
"""What a login shell's start-up files may print before our command begins."""
START_S = 60.0
"""For the login shell to begin our command: small boards with long start-up files."""
KILLED_S = 30.0
"""For a killed command's end to be told."""
QUIET_S = 10.0
"""After so long without a word of a command it is asked whether the device still answers at all: seldom, for it may be timing."""
QUEUE_BYTES = 2 << 20
SLOW_BYTES_S = 50_000
"""So much of a command's input may be under way, on so slow a link, before the question gets through."""


class Heard(NamedTuple):
    """What came on the two streams of a command."""

    out: bytes = b""
    err: bytes = b""


class Channel(Protocol):
    """A command line that runs in the device's shell, and the way to it. One thread sends, one receives."""

    def send(self, data: bytes) -> None:
        """To its standard input. OSError: the command or the link has ended."""

    def end_input(self) -> None: ...

    def receive(self, timeout_s: float) -> Heard:
        """What is there, or what comes first within that time; nothing at the deadline, and at once where nothing more can come."""

    @property
    def is_silent(self) -> bool:
        """Both streams have ended and were read."""

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative: by that signal. Unreachable where the link broke before it was told."""

    def close(self) -> None: ...


@dataclass
class MarkedStream:
    """A stream from the line `MARK PID` on; what came before is a login shell's noise."""

    mark: str
    kept: Kept
    noise: bytearray = field(default_factory=bytearray)
    pid: int | None = None

    def add(self, chunk: bytes) -> None:
        if self.pid is not None:
            self.kept.add(chunk)
            return
        self.noise += chunk
        if match := re.search(rb"%b (\d{1,10})\n" % self.mark.encode(), self.noise):
            self.pid = int(match[1])
            self.kept.add(bytes(self.noise[match.end() :]))
        elif len(self.noise) > MAX_NOISE_BYTES:
            raise CommandFailed("the account's start-up files print too much; let them be silent without a terminal")


@dataclass(frozen=True, slots=True)
class Ended:
    exit_status: int
    """Negative: by that signal."""
    timed_out: bool


class Conversation:
    """A command on its own channel, which is closed at its end."""

    def __init__(self, channel: Channel, stdin: BinaryIO, out: MarkedStream, err: MarkedStream) -> None:
        self.out, self.err = out, err
        self._channel, self._stdin = channel, stdin
        self._sent_bytes = 0
        self._sender = threading.Thread(target=self._send, daemon=True)
        self._sender.start()

    def until_end(self, timeout_s: float, end: Callable[[int, bool], None], check_link: Callable[[float], None]) -> Ended:
        """Read to the command's end, which the device makes sure of at the deadline; the deadline counts from its beginning.

        `end(pid, hard)` has the device end its process group: first gently, then for good. `check_link` raises Unreachable where the
        device answers no more, though it had so many seconds more than usual.
        """
        try:
            deadline, timed_out, killed = time.monotonic() + START_S, False, False
            begun, heard = False, time.monotonic()
            while (status := self._channel.exit_status) is None:
                interrupt.check()
                now = time.monotonic()
                if self._read(max(0.0, min(TICK_S, deadline - now))):
                    heard = now
                elif now - heard >= QUIET_S:
                    check_link(min(self._sent_bytes, QUEUE_BYTES) / SLOW_BYTES_S)
                    heard = now
                now = time.monotonic()
                if not begun and self.out.pid is not None:
                    begun, deadline = True, now + timeout_s
                elif now >= deadline:
                    if self.out.pid is None:
                        raise Unreachable(f"the login shell did not begin our command within {START_S:g} s")
                    if killed:
                        raise Unreachable("a killed command did not end; the device hangs")
                    killed = timed_out
                    end(self.out.pid, killed)
                    timed_out, deadline = True, now + (KILLED_S if killed else GRACE_S)
            self._read(0.0)
            if self.out.pid is not None:
                end(self.out.pid, True)
            self._drain()
            return Ended(status, timed_out)
        finally:
            self._channel.close()
            self._sender.join()

    def _send(self) -> None:
        """In a thread of its own: a command may fill its output before it reads its input."""
        try:
            while chunk := self._stdin.read(CHUNK_BYTES):
                self._sent_bytes += len(chunk)
                self._channel.send(chunk)
            self._channel.end_input()
        except OSError:
            return  # the command or the link has ended, which the reader sees; a file cut short is found by its sha256

    def _read(self, timeout_s: float) -> bool:
        """Take what comes first within that time; whether something came."""
        heard = self._channel.receive(timeout_s)
        if heard.out:
            self.out.add(heard.out)
        if heard.err:
            self.err.add(heard.err)
        return bool(heard.out or heard.err)

    def _drain(self) -> None:
        """To the end of both streams, but for no longer than a moment's silence: someone who was not killed may hold them open."""
        stop = time.monotonic() + DRAIN_S
        while not self._channel.is_silent and time.monotonic() < stop:
            if self._read(TICK_S):
                stop = time.monotonic() + DRAIN_S
