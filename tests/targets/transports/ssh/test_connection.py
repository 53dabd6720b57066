"""Logging in against a real sshd: every key that OpenSSH would take, no host that is not known, and errors that say what to do."""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from targets.session import CommandFailed, Unreachable
from targets.target import Target
from targets.transports import connect

pytestmark = pytest.mark.peers
MakeTarget = Callable[[Any], Target]


@pytest.fixture
def target(sshd: Any, ssh_target: MakeTarget) -> Target:
    return ssh_target(sshd)


def works(target: Target) -> None:
    with connect(target) as session:
        assert session.run(["echo", "hello"], timeout_s=30).stdout == b"hello\n"


def refused(target: Target, kind: type[Exception], says: str) -> str:
    with pytest.raises(kind, match=says) as caught, connect(target):
        pass
    assert str(caught.value).startswith("target device")
    return str(caught.value)


def test_a_host_that_is_not_known_is_refused_with_its_fingerprint(sshd: Any, target: Target, own_home: Path) -> None:
    known = own_home / ".ssh" / "known_hosts"
    known.write_text("")
    message = refused(target, CommandFailed, "is not known")
    listed = subprocess.run(["ssh-keygen", "-lf", str(sshd.folder / "host_key.pub")], capture_output=True, text=True, check=True)
    assert listed.stdout.split()[1] in message and known.read_text() == ""


def test_known_hosts_of_the_inventory_are_the_only_ones_that_are_asked(
    sshd: Any, target: Target, own_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "pinned").write_text("")
    refused(replace(target, known_hosts=str(tmp_path / "pinned")), CommandFailed, "is not known")
    (tmp_path / "pinned").write_text(sshd.known_host)
    (own_home / ".ssh" / "known_hosts").write_text("")
    works(replace(target, known_hosts=str(tmp_path / "pinned")))


def test_a_changed_host_key_is_refused_and_stays_refused(sshd: Any, target: Target, own_home: Path, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    other = (tmp_path / "other.pub").read_text().split()
    known = own_home / ".ssh" / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {other[0]} {other[1]}\n")
    before = known.read_text()
    for _ in range(2):
        message = refused(target, CommandFailed, "THE HOST KEY HAS CHANGED")
    assert f"ssh-keygen -R '[127.0.0.1]:{sshd.port}'" in message and known.read_text() == before


def test_hashed_names_of_hosts_are_read(target: Target, own_home: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(own_home / ".ssh" / "known_hosts")], check=True, capture_output=True)
    assert "127.0.0.1" not in (own_home / ".ssh" / "known_hosts").read_text()
    works(target)


def test_a_key_that_the_device_does_not_have_is_refused(target: Target, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    refused(replace(target, key_file=str(tmp_path / "other")), CommandFailed, "the login was refused")


def test_a_key_file_that_is_not_there_is_named(target: Target) -> None:
    refused(replace(target, key_file="/no/such/key"), CommandFailed, "no key file /no/such/key")


def test_without_any_key_it_says_so(target: Target) -> None:
    refused(replace(target, key_file=""), CommandFailed, "no key to log in with")


def test_a_port_where_nothing_listens_is_unreachable(target: Target) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        refused(replace(target, port=free.getsockname()[1]), Unreachable, "nothing listens there")


def test_a_name_that_cannot_be_resolved_is_unreachable(target: Target) -> None:
    refused(replace(target, address="no-such-host.invalid"), Unreachable, "cannot be resolved")


def test_a_server_that_does_not_answer_is_given_up(target: Target) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        refused(replace(target, port=silent.getsockname()[1], connect_s=0.3), Unreachable, "does not speak SSH|no answer")


def test_a_link_that_breaks_at_any_byte_until_we_are_in_is_unreachable(sshd: Any, target: Target, own_home: Path) -> None:
    """Never a refusal, which would not be tried again."""

    def carry(left_bytes: int) -> None:
        with suppress(OSError), listening.accept()[0] as near, socket.create_connection(("127.0.0.1", sshd.port)) as far:
            while left_bytes > 0:
                for end in select.select([near, far], [], [])[0]:
                    data = end.recv(left_bytes)
                    left_bytes = left_bytes - len(data) if data else 0
                    (far if end is near else near).sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        port = listening.getsockname()[1]
        with (own_home / ".ssh" / "known_hosts").open("a") as known:
            known.write(sshd.known_host.replace(str(sshd.port), str(port)))
        for broken in range(1000):
            carrying = pool.submit(carry, 10 + 400 * broken)
            try:
                with connect(replace(target, port=port)):
                    break
            except Unreachable:
                carrying.result()
    assert broken > 10


def test_an_address_is_needed(target: Target) -> None:
    refused(replace(target, address=""), CommandFailed, "no `address`")


@pytest.fixture
def locked_key(sshd: Any, tmp_path: Path) -> Path:
    key = tmp_path / "locked"
    shutil.copy(sshd.key_file, key)
    key.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", str(key)], check=True, capture_output=True)
    return key


def test_a_passphrase_comes_from_the_environment(target: Target, locked_key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(replace(target, key_file=str(locked_key)), CommandFailed, "passphrase")
    refused(replace(target, key_file=str(locked_key), secret_env="SHED_PASS"), CommandFailed, r"\$SHED_PASS, which is not set")
    monkeypatch.setenv("SHED_PASS", "open sesame")
    works(replace(target, key_file=str(locked_key), secret_env="SHED_PASS"))
    monkeypatch.setenv("SHED_PASS", "wrong")
    message = refused(replace(target, key_file=str(locked_key), secret_env="SHED_PASS"), CommandFailed, r"\S")
    assert "wrong" not in message


@pytest.fixture
def agent(sshd: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    said = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    variables = dict(re.findall(r"(SSH_\w+)=([^;]+);", said))
    monkeypatch.setenv("SSH_AUTH_SOCK", variables["SSH_AUTH_SOCK"])
    subprocess.run(["ssh-add", "-q", str(sshd.key_file)], check=True)
    yield
    os.kill(int(variables["SSH_AGENT_PID"]), 15)


def test_an_agents_key_is_taken(target: Target, agent: None) -> None:
    works(replace(target, key_file=""))


def test_a_certificate_is_taken(make_sshd: Callable[..., Any], ssh_target: MakeTarget, tmp_path: Path) -> None:
    """A server that knows no key, only who may sign one."""
    for name in ("authority", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    server = make_sshd(f"TrustedUserCAKeys {tmp_path}/authority.pub")
    target = replace(ssh_target(server), key_file=str(tmp_path / "id"))
    refused(target, CommandFailed, "the login was refused")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", str(tmp_path / "authority"), "-I", "test", "-n", server.user, str(tmp_path / "id.pub")],
        check=True,
    )
    works(target)


def test_the_users_ssh_configuration_is_honoured(sshd: Any, target: Target, own_home: Path) -> None:
    known = own_home / "elsewhere"
    (own_home / ".ssh" / "known_hosts").rename(known)
    (own_home / ".ssh" / "config").write_text(
        f'Host shed\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n  IdentityFile "{sshd.key_file}"\n'
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {known.name}\n".replace(known.name, "~/elsewhere")
    )
    works(replace(target, address="shed", port=0, user="", key_file=""))


def test_a_broken_ssh_configuration_is_told(target: Target, own_home: Path) -> None:
    (own_home / ".ssh" / "config").write_text("Host\n  nonsense\n")
    with pytest.raises(CommandFailed, match="cannot be read"), connect(target):
        pass


def test_a_jump_host_is_gone_through(make_sshd: Callable[..., Any], sshd: Any, target: Target, own_home: Path) -> None:
    """The device's own server is told apart by what the gate alone forbids: running commands."""
    gate = make_sshd("AllowTcpForwarding yes", "ForceCommand /bin/false")
    with (own_home / ".ssh" / "known_hosts").open("a") as known:
        known.write(gate.known_host)
    (own_home / ".ssh" / "config").write_text(
        f"Host gate\n  HostName 127.0.0.1\n  Port {gate.port}\n  User {gate.user}\n  IdentityFile {gate.key_file}\n"
        f"Host shed\n  HostName 127.0.0.1\n  Port {sshd.port}\n  ProxyJump gate\n"
    )
    works(replace(target, jump="gate"))
    works(replace(target, address="shed", port=0))
    refused(replace(target, jump="gate", port=1), CommandFailed, "refused a channel|AllowTcpForwarding")
    gate.stop()
    refused(replace(target, jump="gate"), Unreachable, "nothing listens there")


def test_a_proxy_command_is_run(sshd: Any, target: Target, own_home: Path) -> None:
    relay = own_home / "relay.py"
    relay.write_text(
        "import socket, sys, threading\n"
        "link = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def out():\n"
        "    while data := link.recv(65536): sys.stdout.buffer.write(data); sys.stdout.buffer.flush()\n"
        "threading.Thread(target=out, daemon=True).start()\n"
        "while data := sys.stdin.buffer.raw.read(65536): link.sendall(data)\n"
    )
    (own_home / ".ssh" / "config").write_text(
        f"Host 127.0.0.1\n  ProxyCommand {shutil.which('python3')} '{relay}' 127.0.0.1 {sshd.port}\n"
    )
    works(target)


def test_a_server_that_allows_no_command_is_told(make_sshd: Callable[..., Any], ssh_target: MakeTarget) -> None:
    refused(ssh_target(make_sshd("ForceCommand echo This account is closed; exit 1")), CommandFailed, "This account is closed")


def test_what_goes_wrong_in_the_callers_own_body_is_not_explained_by_us(target: Target) -> None:
    with pytest.raises(FileNotFoundError, match="mine"), connect(target):
        raise FileNotFoundError("mine")
