"""An SSH connection as a careful user of OpenSSH would have it: keys known before, ~/.ssh/config honoured, through jump hosts, kept alive."""

from __future__ import annotations

import getpass
import logging
import os
import shlex
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import paramiko
from paramiko.common import MSG_CHANNEL_REQUEST

from targets.address import parse_address
from targets.session import CommandFailed, TargetError, Unreachable
from targets.target import Target

CHANNEL_S = 20.0
"""For the server to open a channel."""
KEEPALIVE_S = 10
"""So often something is sent, and its acknowledgement awaited."""
SILENCE_S = 12
"""After so long without an acknowledgement the kernel gives a connection up (RFC 5482); a slow link acknowledges all the same."""
GLOBAL_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"


class Transport(paramiko.Transport):
    """paramiko's, with fast ciphers first, and with the signals that ended commands, which paramiko throws away."""

    _preferred_ciphers = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.exit_signals: dict[int, str] = {}
        """Channel number -> name of the signal without SIG."""

    @staticmethod
    def _note_signal(channel: paramiko.Channel, message: paramiko.Message) -> None:
        start = message.packet.tell()
        if message.get_text() != "exit-signal":  # RFC 4254, section 6.10
            message.packet.seek(start)
            channel._handle_request(message)  # type: ignore[attr-defined]
            return
        message.get_boolean()
        transport = channel.get_transport()
        assert isinstance(transport, Transport)
        transport.exit_signals[channel.chanid] = message.get_text()
        channel.status_event.set()

    _channel_handler_table: ClassVar[Mapping[int, Any]] = {
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]  # of 5.x; tests/targets hold us to it
        MSG_CHANNEL_REQUEST: _note_signal,
    }


@contextmanager
def connected(target: Target) -> Iterator[Transport]:
    """A live, authenticated connection to a target. Unreachable where trying again may help, CommandFailed where it will not."""
    # What fails is raised and told by us; paramiko would print tracebacks of its own threads as well.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
    with ExitStack() as stack:
        route = _route(target)
        with told(f"target {target.name}: {route[0].label}"):
            transport = _open(stack, route[0], None, target)
        for hop in route[1:]:
            with told(f"target {target.name}: {hop.label}"):
                sock = transport.open_channel("direct-tcpip", (hop.address, hop.port), ("127.0.0.1", 0), timeout=target.connect_s)
                transport = _open(stack, hop, sock, target)
        yield transport


@dataclass(frozen=True, slots=True)
class _Hop:
    """One machine on the way, as ~/.ssh/config and the inventory together describe it."""

    name: str
    address: str
    port: int
    user: str
    known_as: str
    """What known_hosts calls it, with its port."""
    known_hosts: tuple[str, ...]
    key_files: tuple[str, ...]
    only_these_keys: bool
    proxy_command: str

    @property
    def label(self) -> str:
        return f"{self.user}@{self.address}:{self.port}"


def _route(target: Target) -> list[_Hop]:
    """The jump hosts, outermost first, then the device."""
    config = _config()
    if not target.address:
        raise CommandFailed(f"target {target.name}: no `address`; write the device's host name into the inventory")
    settings = config.lookup(target.address)
    device = _hop(config, target.address, target.user, target.port)
    if target.key_file:
        device = replace(device, key_files=(str(Path(target.key_file).expanduser()),), only_these_keys=True)
    if target.known_hosts:
        device = replace(device, known_hosts=(str(Path(target.known_hosts).expanduser()),))
    jumps = target.jump or settings.get("proxyjump", "none")
    if jumps.lower() == "none":
        return [device]
    addresses = [parse_address(jump) for jump in jumps.split(",")]
    return [*(_hop(config, hop.host, hop.user, hop.port) for hop in addresses), replace(device, proxy_command="")]


def _hop(config: paramiko.SSHConfig, name: str, user: str, port: int) -> _Hop:
    found = config.lookup(name)
    address = found.get("hostname", name)
    port = port or int(found.get("port", 22))
    files = found.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2").split()
    return _Hop(
        name,
        address,
        port,
        user or found.get("user") or getpass.getuser(),
        found.get("hostkeyalias") or (address if port == 22 else f"[{address}]:{port}"),
        (*(str(Path(file).expanduser()) for file in files), GLOBAL_KNOWN_HOSTS),
        tuple(str(Path(file).expanduser()) for file in found.get("identityfile", ())),
        found.get("identitiesonly", "no").lower() == "yes",
        found.get("proxycommand", "none"),
    )


def _config() -> paramiko.SSHConfig:
    path = Path.home() / ".ssh" / "config"
    try:
        return paramiko.SSHConfig.from_path(str(path)) if path.exists() else paramiko.SSHConfig()
    except (paramiko.ConfigParseError, OSError) as error:
        raise CommandFailed(f"{path} cannot be read: {error}") from error


def _open(stack: ExitStack, hop: _Hop, sock: Any, target: Target) -> Transport:
    if sock is None:
        is_direct = hop.proxy_command.lower() in ("", "none")
        sock = stack.enter_context(_socket(hop, target.connect_s) if is_direct else _proxy(hop.proxy_command))
    client = stack.enter_context(paramiko.SSHClient())
    for file in hop.known_hosts:
        if Path(file).is_file():
            client.load_system_host_keys(file)
    client.set_missing_host_key_policy(_Refuse())
    secret = None
    if target.secret_env:
        secret = os.environ.get(target.secret_env)
        if secret is None:
            raise CommandFailed(f"target {target.name}: `secret_env` names ${target.secret_env}, which is not set; export it")
    key_files = [file for file in hop.key_files if Path(file).is_file() or hop.only_these_keys]
    client.connect(
        # The name under which the key is known carries the port already: 22 keeps paramiko from adding one.
        hop.known_as,
        22,
        hop.user,
        password=secret,
        key_filename=key_files or None,  # type: ignore[arg-type]  # the stubs forget that a list will do
        allow_agent=not hop.only_these_keys,
        look_for_keys=not hop.only_these_keys,
        sock=sock,
        timeout=target.connect_s,
        banner_timeout=target.connect_s,
        auth_timeout=target.connect_s,
        channel_timeout=target.connect_s,
        transport_factory=Transport,
    )
    transport = client.get_transport()
    assert isinstance(transport, Transport)
    transport.set_keepalive(KEEPALIVE_S)
    return transport


def _socket(hop: _Hop, connect_s: float) -> socket.socket:
    sock = socket.create_connection((hop.address, hop.port), timeout=connect_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a command's round trip is 5 ms with it and 45 without
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * SILENCE_S)
    return sock


@contextmanager
def _proxy(command: str) -> Iterator[socket.socket]:
    """The user's own program in place of a connection, its input and output one socket."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = subprocess.Popen(shlex.split(command), stdin=theirs.fileno(), stdout=theirs.fileno())
        with process:
            try:
                yield ours
            finally:
                process.kill()


class _Refuse(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, _client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise CommandFailed(
            f"the host key of {hostname} is not known (it shows {key.get_name()} {key.fingerprint}); compare that with the device's "
            "own (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub there), then connect once with `ssh` to accept it"
        )


@contextmanager
def told(where: str) -> Iterator[None]:
    """Every way in which SSH fails, in words that say what to do."""
    try:
        yield
    except TargetError as error:
        raise type(error)(str(error) if str(error).startswith("target ") else f"{where}: {error}") from error
    except paramiko.BadHostKeyException as error:
        raise CommandFailed(
            f"{where}: THE HOST KEY HAS CHANGED: known_hosts has {error.expected_key.fingerprint}, it shows {error.key.fingerprint}. "
            f"Someone may be in between. If the device was set up anew: ssh-keygen -R '{error.hostname}', then compare and accept it by `ssh`"
        ) from error
    except paramiko.PasswordRequiredException as error:
        raise CommandFailed(
            f"{where}: the key needs a passphrase; load it into ssh-agent, or name its variable in `secret_env`"
        ) from error
    except paramiko.AuthenticationException as error:
        if any(
            told in str(error) for told in ("transport shut down", "timeout")
        ):  # paramiko's words for a link that broke meanwhile
            raise Unreachable(
                f"{where}: the connection broke during the login; if it always does, the device takes fewer keys than the agent offers: "
                "name one by `key_file`"
            ) from error
        raise CommandFailed(
            f"{where}: the login was refused ({error}); check `user` and `key_file`, and that the key's .pub is in the device's "
            "~/.ssh/authorized_keys"
        ) from error
    except socket.gaierror as error:
        raise Unreachable(f"{where}: the name cannot be resolved ({error.strerror}); check `address`") from error
    except TimeoutError as error:
        raise Unreachable(
            f"{where}: no answer in time; is it switched on, and `address` right? (`connect_s` says how long to wait)"
        ) from error
    except ConnectionRefusedError as error:
        raise Unreachable(f"{where}: nothing listens there; start sshd on the device, or check `port`") from error
    except FileNotFoundError as error:
        raise CommandFailed(f"{where}: no key file {error.filename}; check `key_file`") from error
    except paramiko.ChannelException as error:
        raise CommandFailed(
            f"{where}: the server refused a channel ({error.text}); raise MaxSessions, or AllowTcpForwarding on a jump host"
        ) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        if "No authentication methods" in str(error):
            raise CommandFailed(f"{where}: there is no key to log in with; set `key_file`, or load one into ssh-agent") from error
        if "protocol banner" in str(error) or "No existing session" in str(error):
            raise Unreachable(f"{where}: what answers there does not speak SSH in time, or hung up; check `port`") from error
        raise Unreachable(f"{where}: {error or type(error).__name__}; is the device still there?") from error
