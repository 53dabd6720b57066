"""The adb server of this machine, and a device that it reaches: found by its serial, never another in its place."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import adbutils

from targets import interrupt
from targets.conversation import START_S
from targets.session import CommandFailed, TargetError, Unreachable
from targets.target import Target
from targets.transports.adb.channel import MARK_LINE_BYTES, AdbChannel, script, service
from targets.watch import new_mark

LEAST_VERSION = 32
"""Of the server: platform-tools of Android 6."""
STATE_TICK_S = 0.05
_COMING = ("offline", "authorizing", "connecting")
"""States that pass, or may."""
_REFUSED = {
    "unauthorized": "this computer may not debug it yet: unlock the device and allow its question (or `adb kill-server`, then plug it in again)",
    "no permissions": "this account may not use the USB device: add a udev rule for it (package android-sdk-platform-tools-common), plug it in again",
}


@dataclass(frozen=True, slots=True)
class AdbLink:
    """See `targets.over_shell.Link`: every command line has a stream of its own through the server."""

    target: Target
    client: adbutils.AdbClient
    serial: str
    is_v2: bool

    def open(self, line: bytes, input_bytes: int | None, max_output_bytes: int) -> AdbChannel:
        if not _listens(self.client.port):  # adbutils would start one, and print that on our output
            raise Unreachable("the adb server has ended; connect again")
        end = new_mark()
        connection = self.client.make_connection(timeout=min(START_S, self.target.connect_s))
        try:
            for request in (f"host:transport:{self.serial}", service(end, self.is_v2)):
                connection.send_command(request)
                connection.check_okay()
            stream: socket.socket = connection.conn
            stream.settimeout(None)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            text = script(line, end, input_bytes, max_output_bytes + MARK_LINE_BYTES, self.is_v2)
            return AdbChannel(stream, text, end, self.is_v2)
        except BaseException:
            connection.conn.close()
            raise

    def told(self) -> AbstractContextManager[None]:
        return told(self.target, self.serial)


def linked(target: Target) -> AdbLink:
    """A device that is ready for commands. Unreachable where trying again may help, CommandFailed where it will not."""
    serial = f"{target.address}:{target.port}" if target.port else target.address
    with told(target, serial):
        if not serial:
            raise CommandFailed("no `address`; write the serial number that `adb devices` shows, or HOST:PORT")
        client = _server(target.connect_s)
        _wait_until_ready(client, target, serial)
        return AdbLink(target, client, serial, "shell_v2" in _features(client, serial))


def _server(timeout_s: float) -> adbutils.AdbClient:
    """The server, which is started where nothing listens."""
    named = os.environ.get("ANDROID_ADB_SERVER_PORT", "5037")
    if not named.isdecimal() or not 0 < int(named) < 65536:
        raise CommandFailed(f"$ANDROID_ADB_SERVER_PORT is {named!r}, which is no port")
    client = adbutils.AdbClient("127.0.0.1", int(named), socket_timeout=timeout_s)
    if not _listens(client.port):
        _start(named)
    try:
        version = client.server_version()
    except (ValueError, adbutils.AdbError) as error:
        raise CommandFailed(f"what listens on port {named} is no adb server ({error}); set ANDROID_ADB_SERVER_PORT") from error
    if version < LEAST_VERSION:
        raise CommandFailed(
            f"the adb server on port {named} is too old (version {version}, {LEAST_VERSION} is needed); install newer "
            "platform-tools, then `adb kill-server`"
        )
    return client


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _start(port: str) -> None:
    try:
        program = adbutils.adb_path()
    except adbutils.AdbError as error:
        raise CommandFailed("there is no `adb` here; install Android's platform-tools (Debian: apt install adb)") from error
    try:
        done = subprocess.run(
            [program, "-P", port, "start-server"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandFailed(f"the adb server would not start: {error}") from error
    if done.returncode != 0:
        said = " ".join((done.stdout + done.stderr).decode("utf-8", "replace").split())[-500:]
        raise CommandFailed(f"the adb server would not start on port {port}: {said}")


def _wait_until_ready(client: adbutils.AdbClient, target: Target, serial: str) -> None:
    deadline = time.monotonic() + target.connect_s
    said = client.connect(serial, timeout=target.connect_s) if ":" in serial else ""
    is_again = said.startswith("already")
    while True:
        states = _states(client)
        state = states.get(serial)
        if state == "device":
            return
        if state == "offline" and is_again:  # the server has not noticed yet that the device came back
            client.disconnect(serial)
            said, is_again = client.connect(serial, timeout=target.connect_s), False
        elif state not in _COMING or time.monotonic() >= deadline:
            raise _not_ready(state, states, said)
        interrupt.sleep(STATE_TICK_S)


def _states(client: adbutils.AdbClient) -> Mapping[str, str]:
    """Serial -> state, of all devices that the server knows."""
    with client.make_connection() as connection:
        connection.send_command("host:devices")
        connection.check_okay()
        rows = (line.partition("\t") for line in connection.read_string_block().splitlines())
        return {serial: state for serial, _, state in rows}


def _features(client: adbutils.AdbClient, serial: str) -> list[str]:
    """What adbd can; nothing where the server is too old to ask it."""
    try:
        with client.make_connection() as connection:
            connection.send_command(f"host-serial:{serial}:features")
            connection.check_okay()
            features: str = connection.read_string_block()
            return features.split(",")
    except adbutils.AdbError as error:
        if "unknown host service" in str(error):
            return []
        raise


def _not_ready(state: str | None, states: Mapping[str, str], said: str) -> TargetError:
    if state is None and said:
        return Unreachable(f"{said}; is adbd listening there (`adb tcpip 5555` over USB), and are `address` and `port` right?")
    if state is None:
        others = ", ".join(sorted(states)) or "none"
        return Unreachable(f"no such device; adb sees: {others}. Is it plugged in, switched on, and USB debugging allowed?")
    for refused, advice in _REFUSED.items():
        if state.startswith(refused):
            return CommandFailed(f"{state}: {advice}")
    if state in _COMING:
        return Unreachable(f"the device is {state}; plug it in again, or `adb reconnect`")
    return CommandFailed(f"the device is in `{state}`; start its system first (`adb reboot`)")


@contextmanager
def told(target: Target, serial: str) -> Iterator[None]:
    """Every way in which adb fails, in words that say what to do."""
    where = f"target {target.name}: {serial}" if serial else f"target {target.name}"
    try:
        yield
    except TargetError as error:
        raise type(error)(str(error) if str(error).startswith("target ") else f"{where}: {error}") from error
    except (adbutils.AdbTimeout, TimeoutError) as error:
        raise Unreachable(f"{where}: no answer in time; is it switched on? (`connect_s` says how long to wait)") from error
    except adbutils.AdbError as error:
        refused = next((advice for state, advice in _REFUSED.items() if state in str(error)), None)
        if refused:
            raise CommandFailed(f"{where}: {refused}") from error
        said = "the connection was lost" if "Unknown data: b''" in str(error) else error
        raise Unreachable(f"{where}: {said}; is the device still there?") from error
    except (OSError, EOFError) as error:
        raise Unreachable(f"{where}: {error or type(error).__name__}; is the device still there?") from error
