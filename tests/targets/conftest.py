"""A real OpenSSH server on loopback, with keys of its own; its account begins in an empty home folder, so that no start-up file is read."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from targets.target import Target

SSHD = "/usr/sbin/sshd"


@dataclass
class Sshd:
    """A server that can be stopped and started again on the same port."""

    folder: Path
    port: int
    user: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def key_file(self) -> Path:
        return self.folder / "id"

    @property
    def known_host(self) -> str:
        """Its line of known_hosts."""
        return f"[127.0.0.1]:{self.port} {(self.folder / 'host_key.pub').read_text()}"

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(self.folder / "config")], stderr=log, start_new_session=True)
        log.close()
        for _ in range(500):
            assert self.process.poll() is None, (self.folder / "log").read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("sshd does not listen")

    def stop(self) -> None:
        """The listener and every connection: sshd's children lead sessions of their own, but keep their parent's name."""
        if self.process is not None:
            subprocess.run(["pkill", "-KILL", "-P", str(self.process.pid)], check=False)
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def make_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Sshd]]:
    """Starts servers; further words are lines of their configuration."""
    servers: list[Sshd] = []

    def make(*lines: str, path: str = "") -> Sshd:
        if not Path(SSHD).exists():
            pytest.skip("needs OpenSSH's server (openssh-server)")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        folder = tmp_path_factory.mktemp("sshd")
        (folder / "home").mkdir()
        for name in ("host_key", "id"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(folder / name)], check=True)
        shutil.copy(folder / "id.pub", folder / "authorized_keys")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        variables = f"SetEnv HOME={folder}/home" + (f" PATH={path}" if path else "")
        configuration = (
            f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder}/host_key", f"AuthorizedKeysFile {folder}/authorized_keys",
            f"PidFile {folder}/pid", "UsePAM no", "StrictModes no", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
            "MaxStartups 100", variables, *lines,
        )  # fmt: skip
        (folder / "config").write_text("\n".join(configuration) + "\n")
        server = Sshd(folder, port, getpass.getuser())
        server.start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def sshd(make_sshd: Callable[..., Sshd]) -> Sshd:
    return make_sshd()


@pytest.fixture(scope="session")
def busybox_sshd(make_sshd: Callable[..., Sshd], tmp_path_factory: pytest.TempPathFactory) -> Sshd:
    """An account that has busybox's shell and tools, and nothing else."""
    busybox = shutil.which("busybox") or pytest.skip("needs busybox (busybox-static)")
    tools = tmp_path_factory.mktemp("busybox")
    subprocess.run([busybox, "--install", "-s", str(tools)], check=True)
    return make_sshd(path=str(tools))


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with an empty ~/.ssh, and no agent."""
    home = tmp_path / "own home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


@pytest.fixture
def ssh_target(own_home: Path, tmp_path: Path) -> Callable[[Sshd], Target]:
    """This machine behind a server, whose key is known."""

    def make(server: Sshd) -> Target:
        with (own_home / ".ssh" / "known_hosts").open("a") as known:
            known.write(server.known_host)
        return Target(
            "device", transport="ssh", isa="x86_64", host="localhost", address="127.0.0.1", port=server.port, user=server.user,
            key_file=str(server.key_file), work_dir=str(tmp_path / "work dir"), python=sys.executable,
        )  # fmt: skip

    return make
