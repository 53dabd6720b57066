"""One command over an SSH channel: fed, read within bounds, ended at its deadline, told apart from a link that broke."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

import paramiko

from targets.process import DRAIN_S, GRACE_S, TICK_S, Kept
from targets.session import UNNAMED_SIGNAL, CommandFailed, Unreachable
from targets.transports.ssh.connection import CHANNEL_S, Transport

CHUNK_BYTES = 1 << 18
MAX_NOISE_BYTES = 1 << 16
"""What a login shell's start-up files may print before our command begins."""
START_S = 60.0
"""For the login shell to begin our command: small boards with long start-up files."""
KILLED_S = 30.0
"""For a killed command's end to be told."""


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
    """A command on its own channel. `end(pid, hard)` has the device end its process group: first gently, then for good."""

    def __init__(self, transport: Transport, command: bytes, stdin: BinaryIO, out: MarkedStream, err: MarkedStream) -> None:
        self.out, self.err = out, err
        self.channel = transport.open_session(timeout=CHANNEL_S)
        self._transport = transport
        self._news = threading.Event()
        for buffer in (self.channel.in_buffer, self.channel.in_stderr_buffer):
            buffer.set_event(self._news)
        self._stdin = stdin
        self.channel.exec_command(command)
        self._sender = threading.Thread(target=self._send, daemon=True)
        self._sender.start()

    def until_end(self, timeout_s: float, end: Callable[[int, bool], None]) -> Ended:
        """Read to the command's end, which the device makes sure of at the deadline; the deadline counts from its beginning."""
        try:
            deadline, timed_out, killed = time.monotonic() + START_S, False, False
            begun = False
            while not self.channel.status_event.is_set():
                self._read_for(TICK_S, deadline)
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
            status = self._status()
            if self.out.pid is not None:
                end(self.out.pid, True)
            self._drain()
            return Ended(status, timed_out)
        finally:
            self.channel.close()
            self._sender.join()

    def _send(self) -> None:
        """In a thread of its own: a command may fill its output before it reads its input."""
        try:
            while chunk := self._stdin.read(CHUNK_BYTES):
                self.channel.sendall(chunk)
            self.channel.shutdown_write()
        except (OSError, EOFError, paramiko.SSHException):
            return  # the command or the link has ended, which the reader sees; a file cut short is found by its sha256

    def _read(self) -> bool:
        """Move what is there; whether there was something."""
        moved = False
        while self.channel.recv_ready():
            self.out.add(self.channel.recv(1 << 22))
            moved = True
        while self.channel.recv_stderr_ready():
            self.err.add(self.channel.recv_stderr(1 << 22))
            moved = True
        return moved

    def _read_for(self, tick_s: float, deadline: float) -> None:
        """Until nothing is left to read, then wait a moment for more, or at the end of both streams for the exit status."""
        while self._read():
            if time.monotonic() >= deadline:
                return
        wait_s = max(0.0, min(tick_s, deadline - time.monotonic()))
        if self.channel.eof_received:
            self.channel.status_event.wait(wait_s)
        else:
            self._news.wait(wait_s)

    def _drain(self) -> None:
        """To the end of both streams, though not for ever: someone who was not killed may hold them open."""
        stop = time.monotonic() + DRAIN_S
        while not self.channel.eof_received and time.monotonic() < stop:
            self._read_for(TICK_S, stop)
        self._read()

    def _status(self) -> int:
        if (name := self._transport.exit_signals.pop(self.channel.chanid, None)) is not None:
            return -signal.Signals[f"SIG{name}"] if f"SIG{name}" in signal.Signals.__members__ else UNNAMED_SIGNAL
        if self.channel.exit_status < 0:
            raise Unreachable("the connection was lost while a command ran; the device ends it when it notices")
        return self.channel.exit_status
