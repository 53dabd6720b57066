"""A command line over one stream of adb: its input, both its outputs and its exit status, whatever adbd knows of them.

adbd's own word of a command's end comes too late, after all that the command left running has closed the streams, and before shell protocol
2 (Android 7) it comes never. So the command line runs in a shell that says at once how it ended.

Shell protocol 2: packets of id (1 byte), length (4, little endian), content; AOSP's `shell_protocol.h`. Without it one stream is input and
output at once: input is counted, and what was said on standard error comes after the end.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import time
from contextlib import suppress

from targets.conversation import Heard
from targets.session import CommandFailed, Unreachable

STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
HEADER = struct.Struct("<BI")
MAX_PACKET_BYTES = 1 << 24
CHUNK_BYTES = 1 << 20
MARK_LINE_BYTES = 64
"""Beside the command's own words, on standard error: the line that says that it begins."""


def service(end: str, is_v2: bool) -> str:
    """The shell that reads our script from its input, up to the line `end`, and runs it: adbd of old takes no more than 4 KiB of command."""
    reader = f"""while IFS= read -r l;do [ "$l" = {end} ]&&{{ eval "$c";exit;}};c="$c$l\n";done"""
    return ("shell,v2,raw:" if is_v2 else "exec:") + f"c=;{reader}"


def script(line: bytes, end: str, input_bytes: int | None, max_error_bytes: int, is_v2: bool) -> bytes:
    """The command line, in a shell that says `END STATUS` after its output."""
    say_end = b"printf '%%s %%s\\n' %b $?" % end.encode()
    if is_v2 or input_bytes is None:
        return b"( %b\n)\n%b\n%b\n" % (line, say_end, end.encode())
    counted = b"head -c %d 2>/dev/null |" % input_bytes if input_bytes else b": |"
    # tail says what it was given when the pipe to it closes, and that must be after the command's end: the first group holds its standard
    # error until then, and the second its output, which a shell that makes its last command of it (hence `:`) would give up.
    return b"exec 3>&1\n{ %b ( %b\n) >&3 3>&-\n%b >&3\n} 2>&1 >/dev/null | { head -c %d; cat >/dev/null; :; } | tail -c %d\n%b\n" % (
        counted, line, say_end, max_error_bytes, max_error_bytes, end.encode(),
    )  # fmt: skip


class AdbChannel:
    """See `targets.conversation.Channel`. The socket has come to where adbd started `service`."""

    def __init__(self, link: socket.socket, script: bytes, end: str, is_v2: bool) -> None:
        self._link, self._is_v2 = link, is_v2
        self._ending = _Ending(end.encode())
        self._packets = bytearray()
        self._is_over = False
        self._poll = select.poll()
        self._poll.register(link, select.POLLIN)
        self.send(script)

    def send(self, data: bytes) -> None:
        self._link.sendall(HEADER.pack(STDIN, len(data)) + data if self._is_v2 else data)

    def end_input(self) -> None:
        if self._is_v2:
            self._link.sendall(HEADER.pack(CLOSE_STDIN, 0))

    def receive(self, timeout_s: float) -> Heard:
        deadline = time.monotonic() + timeout_s
        while not self._is_over:
            if not self._poll.poll(max(0.0, 1000 * (deadline - time.monotonic()))):
                break
            heard = self._take(self._link.recv(CHUNK_BYTES))
            if heard.out or heard.err or self._ending.status is not None:
                return heard
        return Heard()

    def _take(self, chunk: bytes) -> Heard:
        if not chunk:
            self._is_over = True
            return Heard()
        if not self._is_v2:
            return Heard(*self._ending.split(chunk))
        self._packets += chunk
        out, err, at = [], [], 0
        while len(self._packets) - at >= HEADER.size:
            kind, size = HEADER.unpack_from(self._packets, at)
            if size > MAX_PACKET_BYTES:
                raise CommandFailed(f"the device sent a packet of {size} bytes, which adbd never does")
            if len(self._packets) - at - HEADER.size < size:
                break
            content = bytes(self._packets[at + HEADER.size : at + HEADER.size + size])
            at += HEADER.size + size
            if kind == STDOUT:
                out.append(self._ending.split(content)[0])
            elif kind == STDERR:
                err.append(content)
            elif kind == EXIT:
                self._is_over = True
        del self._packets[:at]
        return Heard(b"".join(out), b"".join(err))

    @property
    def is_silent(self) -> bool:
        return self._is_over

    @property
    def exit_status(self) -> int | None:
        """A shell has no word for signals: a status of 129 to 192 is taken for death by signal 1 to 64."""
        if (status := self._ending.status) is None:
            if self._is_over:
                raise Unreachable("the connection was lost; what ran there is ended by the device when it notices")
            return None
        return 128 - status if 128 < status <= 192 else status

    def close(self) -> None:
        with suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)  # wakes the thread that sends
        self._link.close()


class _Ending:
    """Finds `END STATUS` in a stream, however it is cut; nothing is held back that cannot be its beginning."""

    def __init__(self, end: bytes) -> None:
        self.status: int | None = None
        self._pattern = re.compile(rb"%b (\d{1,3})\n" % end)
        self._start = end + b" "
        self._held = b""

    def split(self, chunk: bytes) -> tuple[bytes, bytes]:
        """What came before the end and what came after it."""
        if self.status is not None:
            return b"", chunk
        said = self._held + chunk
        if match := self._pattern.search(said):
            self.status, self._held = int(match[1]), b""
            return said[: match.start()], said[match.end() :]
        longest = min(len(said), len(self._start) + 3)
        held = next((n for n in range(longest, 0, -1) if self._may_begin(said[-n:])), 0)
        self._held = said[len(said) - held :]
        return said[: len(said) - held], b""

    def _may_begin(self, tail: bytes) -> bool:
        return self._start.startswith(tail) or tail.startswith(self._start)
