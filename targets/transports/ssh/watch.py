"""The session's watch on the device (`targets/shell.py`): who the device is, and the end of what it runs."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import paramiko

from targets.session import CommandFailed, Unreachable
from targets.shell import PROBE, WATCH, command_line
from targets.target import Target
from targets.transports.ssh.channel import MAX_NOISE_BYTES, START_S
from targets.transports.ssh.connection import CHANNEL_S, Transport

ANSWER_S = 60.0
BYE_S = 5.0
GREETING_WORDS = 7


@dataclass
class Watch:
    """Its channel, and what it said of the device."""

    channel: paramiko.Channel
    run_id: str
    """Of the session: the beginning of the run ids of its commands."""
    boot_id: str
    folder: str
    """The work directory, resolved."""
    path: str
    home: str
    temporary: str
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def term(self, group: int) -> None:
        with self._lock:
            self.channel.sendall(b"term %d -\n" % group)

    def end(self, group: int, run: str) -> None:
        """Kill what is left of a command, whether it stayed in its group or not, and wait until it is gone."""
        with self._lock:
            self.channel.sendall(b"end %d %b\n" % (group, run.encode()))
            answer = _heard(self.channel, b"", b"\n", 1, ANSWER_S)
        if answer != b"gone":
            raise CommandFailed("a process on the device cannot be killed; switch the device off and on")


@contextmanager
def watching(transport: Transport, target: Target) -> Iterator[Watch]:
    """Start the watch; at the end it kills what the session left running, and so it does if the connection breaks."""
    mark = f"ASSAY{secrets.token_hex(8)}"
    channel = transport.open_session(timeout=CHANNEL_S)
    words = ["sh", "-c", WATCH, "assay", mark, target.work_dir, target.name, str(target.max_disk_bytes), PROBE]
    channel.exec_command(command_line(words))
    try:
        greeting = _heard(channel, mark.encode(), b"\0", GREETING_WORDS, START_S)
        run_id, boot_id, folder, path, home, temporary, probe = greeting.decode("utf-8", "surrogateescape").split("\0")
        if probe != PROBE:
            raise CommandFailed("the account's login shell does not read quotes as POSIX says; make it /bin/sh (chsh)")
        yield Watch(channel, run_id.partition("\n")[2], boot_id, folder, path, home, temporary)
        with suppress(
            OSError, EOFError, paramiko.SSHException, Unreachable
        ):  # a link that broke is the watch's sign to do the same
            channel.shutdown_write()
            _heard(channel, b"", b"bye\n", 1, BYE_S)
    finally:
        channel.close()


def _heard(channel: paramiko.Channel, start: bytes, terminator: bytes, count: int, timeout_s: float) -> bytes:
    """What the watch says after `start`, up to its terminator's last of `count`; it says nothing more until it is told something."""
    said, deadline = b"", time.monotonic() + timeout_s
    while True:
        _, found, tail = said.partition(start) if start else (b"", b"", said)
        if (found or not start) and tail.count(terminator) >= count:
            return tail[: -len(terminator)]
        channel.settimeout(max(0.01, deadline - time.monotonic()))
        chunk = channel.recv(4096)
        said += chunk
        if len(said) > MAX_NOISE_BYTES:
            raise CommandFailed("the account's start-up files print too much; let them be silent without a terminal")
        if not chunk:
            raise _ended(channel, said)


def _ended(channel: paramiko.Channel, said: bytes) -> Exception:
    """The watch is gone: by its own will, with a reason, or because the link is."""
    channel.settimeout(ANSWER_S)
    while chunk := channel.recv_stderr(4096):
        said += chunk
        if len(said) > MAX_NOISE_BYTES:
            break
    if not channel.status_event.wait(ANSWER_S) or channel.exit_status < 0:
        return Unreachable("the connection was lost")
    return CommandFailed(
        f"the device's shell would not begin: {said.decode('utf-8', 'replace').strip()[-500:] or 'it says nothing'}; "
        "check `work_dir`, and that the account has a login shell"
    )
