"""A device over SSH (OpenSSH or dropbear): a POSIX shell and busybox's tools are all that it needs.

    with connect(Target("pi", transport="ssh", address="pi.local", user="pi", isa="aarch64")) as session:
        session.push(Path("model.onnx"), "model.onnx")
        session.run(["sha256sum", "model.onnx"], timeout_s=10)

Host keys must be known before (known_hosts); ~/.ssh/config, agents, certificates and jump hosts are honoured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from targets.over_shell import OverShell, session_over
from targets.target import Target
from targets.transports.ssh.channel import SshChannel
from targets.transports.ssh.connection import Transport, connected, told

__all__ = ["connect"]


@contextmanager
def connect(target: Target) -> Iterator[OverShell]:
    with connected(target) as transport, session_over(SshLink(target.name, transport), target) as session:
        yield session


@dataclass(frozen=True, slots=True)
class SshLink:
    name: str
    transport: Transport

    def open(self, line: bytes, _input_bytes: int | None, _max_output_bytes: int) -> SshChannel:
        return SshChannel(self.transport, line)

    def told(self) -> AbstractContextManager[None]:
        return told(f"target {self.name}")
