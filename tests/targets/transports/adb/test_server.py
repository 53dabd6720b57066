"""The adb server and its devices: real ones that come and go, and a made-up server for the states that Debian's adbd cannot show."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import adbutils
import pytest

from targets import conversation, watch
from targets.session import CommandFailed, Unreachable
from targets.target import Target
from targets.transports import connect

MakeTarget = Callable[[Any], Target]


class Server:
    """Answers as the adb server does: four hexadecimal digits of length, then a request; OKAY or FAIL, length, text."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = {"host:version": "0029"} | answers
        self.asked: list[str] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.listening.getsockname()[1])

    def _serve(self) -> None:
        while True:
            try:
                client = self.listening.accept()[0]
            except OSError:
                return
            with client:
                if length := client.recv(4):
                    request = client.recv(int(length, 16)).decode()
                    self.asked.append(request)
                    answer = self.answers.get(request, "!unknown host service")
                    text = answer.removeprefix("!")
                    client.sendall(f"{'FAIL' if answer.startswith('!') else 'OKAY'}{len(text):04x}{text}".encode())


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(**answers: str) -> Server:
        server = Server({f"host:{key}": value for key, value in answers.items()})
        made.append(server)
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))
        return server

    yield make
    for server in made:
        server.listening.close()


PHONE = Target("phone", transport="adb", isa="aarch64", address="R58M123ABC", connect_s=0.3)


def refused(target: Target, kind: type[Exception], says: str) -> str:
    with pytest.raises(kind, match=says) as caught, connect(target):
        pass
    assert str(caught.value).startswith(f"target {target.name}")
    return str(caught.value)


@pytest.mark.parametrize(
    ("state", "kind", "says"),
    [
        ("unauthorized", CommandFailed, "unlock the device and allow"),
        ("no permissions (user in plugdev group; are your udev rules wrong?)", CommandFailed, "udev rule"),
        ("offline", Unreachable, "the device is offline; plug it in again"),
        ("authorizing", Unreachable, "the device is authorizing"),
        ("recovery", CommandFailed, "the device is in `recovery`; start its system"),
        ("bootloader", CommandFailed, "`bootloader`"),
    ],
)
def test_a_device_that_is_not_ready_is_told_by_its_state(
    serve: Callable[..., Server], state: str, kind: type[Exception], says: str
) -> None:
    serve(devices=f"other\tdevice\nR58M123ABC\t{state}\n")
    refused(PHONE, kind, says)


def test_another_device_is_never_taken_in_its_place(serve: Callable[..., Server]) -> None:
    server = serve(devices="R58M123ABD\tdevice\nemulator-5554\toffline\n")
    refused(PHONE, Unreachable, "R58M123ABC: no such device; adb sees: R58M123ABD, emulator-5554. Is it plugged in")
    assert server.asked == ["host:version", "host:devices"]


def test_no_device_at_all_is_told(serve: Callable[..., Server]) -> None:
    serve(devices="")
    refused(PHONE, Unreachable, "adb sees: none")


def test_a_network_device_that_is_stale_is_called_again(serve: Callable[..., Server]) -> None:
    """It came back, and the server holds the old connection still."""
    where = "10.0.0.7:5555"
    server = serve(
        **{f"connect:{where}": f"already connected to {where}", f"disconnect:{where}": "", "devices": f"{where}\toffline\n"}
    )
    refused(replace(PHONE, address="10.0.0.7", port=5555), Unreachable, "offline")
    assert server.asked[1:6] == [
        f"host:connect:{where}", "host:devices", f"host:disconnect:{where}", f"host:connect:{where}", "host:devices",
    ]  # fmt: skip


def test_a_server_that_is_too_old_is_told(serve: Callable[..., Server]) -> None:
    serve(version="001f")
    refused(PHONE, CommandFailed, r"too old \(version 31, 32 is needed\); install newer platform-tools, then `adb kill-server`")


def test_a_port_where_something_else_listens_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(other.getsockname()[1]))
        refused(PHONE, CommandFailed, "is no adb server")


@pytest.mark.parametrize("port", ["", "x", "0", "70000"])
def test_a_port_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", port)
    refused(PHONE, CommandFailed, "which is no port")


def test_an_address_is_needed() -> None:
    refused(replace(PHONE, address=""), CommandFailed, "no `address`")


@pytest.fixture
def free_port(monkeypatch: pytest.MonkeyPatch) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", port)
    return port


def test_without_adb_it_says_how_to_get_it(free_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> str:
        raise adbutils.AdbError("No adb exe could be found")

    monkeypatch.setattr(adbutils, "adb_path", absent)
    refused(PHONE, CommandFailed, r"there is no `adb` here; install .* \(Debian: apt install adb\)")


def test_an_adb_that_fails_is_quoted(free_port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "adb"
    program.write_text("#!/bin/sh\necho cannot bind >&2; exit 1\n")
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(program))
    refused(PHONE, CommandFailed, "cannot be executed|Permission denied")
    program.chmod(0o755)
    refused(PHONE, CommandFailed, f"would not start on port {free_port}: cannot bind")


@pytest.mark.peers
def test_a_server_is_started_where_none_runs(free_port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    try:
        refused(PHONE, Unreachable, "no such device")
        assert adbutils.AdbClient("127.0.0.1", int(free_port)).server_version() >= 40
    finally:
        subprocess.run([adbutils.adb_path(), "-P", free_port, "kill-server"], check=True, capture_output=True)


@pytest.mark.peers
def test_a_port_of_the_device_where_nothing_listens_is_unreachable(old_adbd: Any, adb_target: MakeTarget) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = replace(adb_target(old_adbd), port=free.getsockname()[1])
    refused(target, Unreachable, r"Connection refused.*is adbd listening there")


@pytest.mark.peers
def test_an_address_may_carry_its_port(old_adbd: Any, adb_target: MakeTarget) -> None:
    target = adb_target(old_adbd)
    with connect(replace(target, address=f"127.0.0.1:{target.port}", port=0)) as session:
        assert session.run(["echo", "hello"], timeout_s=30).stdout == b"hello\n"


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.peers
@pytest.mark.parametrize("is_old", [False, True])
def test_a_link_that_breaks_under_a_command_leaves_nothing_and_a_device_that_comes_back_is_found(
    make_adbd: Callable[..., Any], adb_target: MakeTarget, tmp_path: Path, is_old: bool
) -> None:
    adbd = make_adbd(is_old=is_old)
    target = adb_target(adbd)
    with connect(target) as session:
        threading.Timer(0.5, adbd.stop).start()
        with pytest.raises(Unreachable, match=r"target device: 127.0.0.1:\d+: the connection was lost"):
            session.run(["sh", "-c", "echo $$ >pid; setsid sh -c 'echo $$ >escaped; exec sleep 300' & sleep 300"], timeout_s=60)
        with pytest.raises(Unreachable):
            session.run(["true"], timeout_s=5)
    pids = [int((tmp_path / "work dir" / name).read_text()) for name in ("pid", "escaped")]
    deadline = time.monotonic() + 60
    while not all(map(is_gone, pids)):
        assert time.monotonic() < deadline, "the command outlived its connection"
        time.sleep(0.02)
    adbd.start()
    with connect(target) as session:
        assert session.run(["echo", "back"], timeout_s=30).stdout == b"back\n"


@pytest.mark.peers
def test_a_device_that_answers_no_more_is_given_up(
    make_adbd: Callable[..., Any], adb_target: MakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody says that the link is cut: it is known by an answer that does not come."""
    monkeypatch.setattr(conversation, "QUIET_S", 0.2)
    monkeypatch.setattr(watch, "SILENCE_S", 1.0)
    monkeypatch.setattr(watch, "BYE_S", 0.1)
    adbd = make_adbd()
    with connect(adb_target(adbd)) as session:
        assert session.run(["sleep", "1"], timeout_s=30).exit_status == 0, "a command that says nothing is no silence"
        threading.Timer(0.3, os.kill, (adbd.process.pid, signal.SIGSTOP)).start()
        with pytest.raises(Unreachable, match="did not answer within 1 s"):
            session.run(["sleep", "300"], timeout_s=60)


@pytest.mark.peers
def test_a_server_that_ends_under_a_session_is_told_and_not_started_by_it(
    make_adbd: Callable[..., Any], adb_target: MakeTarget, free_port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = adb_target(make_adbd())
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", free_port)
    monkeypatch.setenv("HOME", str(tmp_path))
    with connect(target) as session:
        subprocess.run([adbutils.adb_path(), "-P", free_port, "kill-server"], check=True, capture_output=True)
        with pytest.raises(Unreachable, match="the adb server has ended; connect again"):
            session.run(["true"], timeout_s=5)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(free_port))) != 0


@pytest.mark.peers
def test_an_account_without_a_home_works_where_android_lets_it(android: Any, adb_target: MakeTarget) -> None:
    with connect(replace(adb_target(android), work_dir="")) as session:
        place = session.run(["pwd"], timeout_s=30).stdout.decode().strip()
    assert place == str(android.folder / "data/local/tmp/assay/device")
