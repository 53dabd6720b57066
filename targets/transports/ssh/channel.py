"""A command line over an SSH channel."""

from __future__ import annotations

import signal
import threading

import paramiko

from targets.conversation import Heard
from targets.session import UNNAMED_SIGNAL, CommandFailed, Unreachable
from targets.transports.ssh.connection import CHANNEL_S, Transport

CHUNK_BYTES = 1 << 22
DROPBEAR_MAX_BYTES = 9000
"""Of a command line (its MAX_CMD_LEN): at a longer one it hangs up."""
OPENINGS = 5
"""dropbear 2022.83 now and then closes a new channel when a command on another ends, before it has looked what was to run there."""


class SshChannel:
    """See `targets.conversation.Channel`."""

    def __init__(self, transport: Transport, line: bytes) -> None:
        self._transport = transport
        self._news = threading.Event()
        if "dropbear" in transport.remote_version and len(line) > DROPBEAR_MAX_BYTES:
            raise CommandFailed(
                f"{len(line)} bytes of command, and dropbear takes {DROPBEAR_MAX_BYTES}; pass what is long by a file"
            )
        self._channel = self._begun(line)

    def _begun(self, line: bytes) -> paramiko.Channel:
        """A channel on which the command was accepted."""
        opening = 0
        while True:
            opening += 1
            try:
                channel = self._transport.open_session(timeout=CHANNEL_S)
                for buffer in (channel.in_buffer, channel.in_stderr_buffer):
                    buffer.set_event(self._news)
                channel.exec_command(line)
            except paramiko.ChannelException:
                raise
            except paramiko.SSHException:
                if opening == OPENINGS or not self._transport.is_active():
                    raise
            else:
                return channel

    def send(self, data: bytes) -> None:
        try:
            self._channel.sendall(data)
        except (EOFError, paramiko.SSHException) as error:
            raise BrokenPipeError(str(error)) from error

    def end_input(self) -> None:
        try:
            self._channel.shutdown_write()
        except (EOFError, paramiko.SSHException) as error:
            raise BrokenPipeError(str(error)) from error

    def receive(self, timeout_s: float) -> Heard:
        if not self._is_ready() and not self._is_over:
            self._news.wait(timeout_s)
        if not self._is_ready() and self._is_over:  # only the exit status is awaited
            self._channel.status_event.wait(timeout_s)
        return Heard(
            self._channel.recv(CHUNK_BYTES) if self._channel.recv_ready() else b"",
            self._channel.recv_stderr(CHUNK_BYTES) if self._channel.recv_stderr_ready() else b"",
        )

    def _is_ready(self) -> bool:
        return self._channel.recv_ready() or self._channel.recv_stderr_ready()

    @property
    def _is_over(self) -> bool:
        """A link that breaks closes the channel, and says nothing of an end."""
        return bool(self._channel.eof_received or self._channel.closed)

    @property
    def is_silent(self) -> bool:
        return self._is_over and not self._is_ready()

    @property
    def exit_status(self) -> int | None:
        if not self._channel.status_event.is_set():
            return None
        if (name := self._transport.exit_signals.get(self._channel.chanid)) is not None:
            return -signal.Signals[f"SIG{name}"] if f"SIG{name}" in signal.Signals.__members__ else UNNAMED_SIGNAL
        if self._channel.exit_status < 0:
            raise Unreachable("the connection was lost; what ran there is ended by the device when it notices")
        return self._channel.exit_status

    def close(self) -> None:
        self._channel.close()
        self._transport.exit_signals.pop(self._channel.chanid, None)
