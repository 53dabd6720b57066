"""Real peers on loopback: OpenSSH's server with keys of its own and accounts whose home is empty, and adbd in a network of its own."""

from __future__ import annotations

import getpass
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from targets.board import entries, life
from targets.board.board import Board
from targets.board.fetch import BACKPORTS, download
from targets.board.image import image
from targets.board.machine import check_emulator
from targets.cache import appearing
from targets.errors import UserError
from targets.session import CommandFailed
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


@pytest.fixture(scope="session")
def qemu() -> None:
    """User-mode emulation of other instruction sets than this machine's."""
    if not (shutil.which("qemu-riscv64") or shutil.which("qemu-riscv64-static")):
        pytest.skip("needs qemu's user-mode emulators (qemu-user)")


@pytest.fixture
def qemu_target(qemu: None, tmp_path: Path) -> Target:
    """This machine with another instruction set."""
    if platform.machine() == "aarch64":
        pytest.skip("this machine is aarch64 itself")
    return Target("device", transport="qemu", isa="aarch64", cpu="cortex_a72", work_dir=str(tmp_path / "work dir"))


@dataclass
class Labgrid:
    """A coordinator, and an exporter that offers what is in `exporter.yaml`: place `bench` has sshd, `bare` has none, `idle` has nothing."""

    folder: Path
    coordinator: str
    processes: list[subprocess.Popen[str]]

    def client(self, *words: str, user: str = "", host: str = "") -> str:
        """What labgrid's own client says; as another user of another host, or as this one."""
        environment = os.environ | {"LG_COORDINATOR": self.coordinator}
        environment |= {"LG_USERNAME": user, "LG_HOSTNAME": host} if user else {}
        command = [sys.executable, "-m", "labgrid.remote.client", *words]
        done = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, method: str, **fields: str) -> Any:
        """What its protocol calls so."""
        import grpc
        from labgrid.remote.generated import labgrid_coordinator_pb2 as messages
        from labgrid.remote.generated.labgrid_coordinator_pb2_grpc import CoordinatorStub

        with grpc.insecure_channel(self.coordinator) as channel:
            return getattr(CoordinatorStub(channel), method)(getattr(messages, f"{method}Request")(**fields), timeout=30)

    def holder(self, place: str = "bench") -> str:
        """host/user of who acquired it; empty: no one."""
        return str(next(found.acquired for found in self.ask("GetPlaces").places if found.name == place))

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
        self.processes.clear()


@pytest.fixture(scope="session")
def make_labgrid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Sshd], Labgrid]]:
    made: list[Labgrid] = []

    def make(server: Sshd) -> Labgrid:
        if importlib.util.find_spec("labgrid") is None:
            pytest.skip("needs labgrid (the extra `labgrid`)")
        folder = tmp_path_factory.mktemp("labgrid")
        where = {"address": "127.0.0.1", "username": server.user, "port": server.port}
        power = {"model": "rest", "host": "http://127.0.0.1:1", "index": 1}
        (folder / "exporter.yaml").write_text(
            json.dumps({"bench": {"NetworkService": where}, "bare": {"NetworkPowerPort": power}})
        )
        labgrid = Labgrid(folder, "", [])
        made.append(labgrid)

        def start(module: str, *words: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-u", "-m", f"labgrid.remote.{module}", *words]
            log = (folder / f"{module}.log").open("w")
            labgrid.processes.append(subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True))
            log.close()
            return labgrid.processes[-1]

        coordinator = start("coordinator", "-l", "127.0.0.1:0")
        assert coordinator.stdout is not None
        labgrid.coordinator = next(line.split()[-1] for line in coordinator.stdout if line.startswith("listening on"))
        threading.Thread(target=coordinator.stdout.read, daemon=True).start()  # it prints all that it is asked
        start("exporter", "-c", labgrid.coordinator, "-n", "here", "--hostname", "127.0.0.1", "exporter.yaml")
        for place in ("bench", "bare", "idle"):
            labgrid.ask("AddPlace", name=place)
            labgrid.ask("AddPlaceMatch", placename=place, pattern=f"*/{place}/*")
        for _ in range(100):
            if {"here/bench/NetworkService", "here/bare/NetworkPowerPort"} <= set(labgrid.client("resources").split()):
                return labgrid
        raise AssertionError((folder / "exporter.log").read_text())

    yield make
    for labgrid in made:
        labgrid.stop()


@pytest.fixture(scope="session")
def labgrid(make_labgrid: Callable[[Sshd], Labgrid], sshd: Sshd) -> Labgrid:
    return make_labgrid(sshd)


@pytest.fixture
def labgrid_target(labgrid: Labgrid, sshd: Sshd, ssh_target: Callable[[Sshd], Target]) -> Target:
    """This machine as the place `bench`; how to log in the place says."""
    return replace(ssh_target(sshd), transport="labgrid", address=f"bench@{labgrid.coordinator}", port=0, user="")


ADBD = "usr/lib/android-sdk/platform-tools/adbd"
ADBD_PACKAGES = (
    *(
        f"{name}/{BACKPORTS}"
        for name in ("adbd", "android-libbase", "android-libboringssl", "android-libcutils", "android-liblog")
    ),
    *("libbrotli1", "liblz4-1", "libprotobuf32"),
)
LONE_ADBD = Path(__file__).with_name("lone_adbd.py")


@dataclass
class Adbd:
    """A daemon, alone behind a link that can be cut; the port stays the same."""

    folder: Path
    root: Path
    """Where Debian's packages are unpacked."""
    shell: Path
    path: str
    is_android: bool
    is_old: bool
    listening: socket.socket
    process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return int(self.listening.getsockname()[1])

    def start(self) -> None:
        libraries = next((self.root / "usr/lib").glob("*-linux-gnu*"))
        environment = {"PATH": self.path, "LD_LIBRARY_PATH": f"{libraries}/android:{libraries}"}
        environment |= {"ANDROID_DATA": str(self.folder / "data")} if self.is_android else {}
        words = (self.listening.fileno(), self.shell, int(self.is_old), self.root / ADBD)
        command = ["unshare", "--net", "--mount", sys.executable, str(LONE_ADBD), *map(str, words)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, pass_fds=[self.listening.fileno()], start_new_session=True
            )

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def adbd_packages(request: pytest.FixtureRequest) -> Path:
    """Debian's adbd, unpacked into pytest's cache: nothing is installed, and no source of apt is changed."""
    if os.geteuid() != 0:
        pytest.skip("needs root: adbd asks nobody who he is, so it is put into a network of its own")
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    root = Path(request.config.cache.mkdir("debian")) / hashlib.sha256(repr(ADBD_PACKAGES).encode()).hexdigest()[:16]
    if not root.is_dir():
        with appearing(root) as scratch:
            architecture = subprocess.run(
                ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
            ).stdout.strip()
            try:
                packages = download(ADBD_PACKAGES, architecture, scratch / "download")
            except (CommandFailed, UserError) as error:
                pytest.skip(f"needs Debian's adbd: {error}")
            for package in packages:
                subprocess.run(["dpkg-deb", "--extract", package, scratch], check=True)
            shutil.rmtree(scratch / "download")
    return root


@pytest.fixture(scope="session")
def adb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """An adb server of our own; its port."""
    import adbutils

    folder = tmp_path_factory.mktemp("adb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = os.environ | {"HOME": str(folder), "TMPDIR": str(folder)}
    adb = [adbutils.adb_path(), "-P", port]
    subprocess.run([*adb, "start-server"], env=environment, check=True, capture_output=True)
    yield int(port)
    subprocess.run([*adb, "kill-server"], env=environment, check=True, capture_output=True)


@pytest.fixture(scope="session")
def make_adbd(adbd_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Adbd]]:
    made: list[Adbd] = []

    def make(*, shell: str = "sh", path: str = "", is_android: bool = False, is_old: bool = False) -> Adbd:
        listening = socket.create_server(("127.0.0.1", 0))
        program = Path(shutil.which(shell) or pytest.skip(f"needs {shell}"))
        adbd = Adbd(
            tmp_path_factory.mktemp("adbd"), adbd_packages, program, path or os.environ["PATH"], is_android, is_old, listening
        )
        adbd.start()
        made.append(adbd)
        return adbd

    yield make
    for adbd in made:
        adbd.stop()
        adbd.listening.close()


@pytest.fixture(scope="session")
def android(make_adbd: Callable[..., Adbd], tmp_path_factory: pytest.TempPathFactory) -> Adbd:
    """A device that has Android's shell and tools, and nothing else: mksh and toybox."""
    tools = tmp_path_factory.mktemp("toybox")
    toybox = shutil.which("toybox") or pytest.skip("needs toybox")
    for name in subprocess.run([toybox], capture_output=True, text=True, check=True).stdout.split():
        (tools / name).symlink_to(toybox)
    (tools / "tr").symlink_to(
        shutil.which("busybox") or pytest.skip("needs busybox")
    )  # Android's toybox has it, Debian's has not
    (tools / "sh").unlink(missing_ok=True)
    (tools / "sh").symlink_to(shutil.which("mksh") or pytest.skip("needs mksh"))
    return make_adbd(shell="mksh", path=str(tools), is_android=True)


@pytest.fixture(scope="session")
def old_adbd(make_adbd: Callable[..., Adbd]) -> Adbd:
    """A Linux board whose adbd has no shell protocol 2."""
    return make_adbd(is_old=True)


@pytest.fixture
def adb_target(adb_server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Adbd], Target]:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(adb_server))

    def make(adbd: Adbd) -> Target:
        return Target(
            "device", transport="adb", isa="x86_64", host="localhost", address="127.0.0.1", port=adbd.port,
            work_dir=str(tmp_path / "work dir"), python=sys.executable,
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def board_image(request: pytest.FixtureRequest) -> Path:
    """A cache that holds the board's kernel and file system: fetched once a checkout."""
    cache = Path(request.config.cache.mkdir("board"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSAY_CACHE", str(cache))
        try:
            check_emulator()
            image()
        except (CommandFailed, UserError) as error:
            pytest.skip(f"needs Debian's packages of the board, and QEMU: {error}")
    return cache


@dataclass
class LiveBoard:
    """An emulated arm64 board. Its ports and keys stay the same when it is killed and booted again."""

    cache: Path
    data: Path

    def up(self) -> tuple[Target, Target]:
        """By SSH and by ADB."""
        with self._at_home():
            return entries.targets(life.up(Board("board", str(self.data / "devices.yaml"))))

    def kill(self) -> None:
        """Its QEMU."""
        os.kill(int((self.data / "assay/boards/board/qemu.pid").read_text()), signal.SIGKILL)

    def down(self) -> None:
        with self._at_home():
            life.down("board")

    @contextmanager
    def _at_home(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ASSAY_CACHE", str(self.cache))
            patch.setenv("XDG_DATA_HOME", str(self.data))
            yield


@pytest.fixture(scope="session")
def live_board(board_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveBoard]:
    """Booted once for all tests; whoever kills it boots it again."""
    board = LiveBoard(board_image, tmp_path_factory.mktemp("board"))
    board.up()
    yield board
    board.down()


@pytest.fixture(scope="session")
def board_targets(live_board: LiveBoard) -> tuple[Target, Target]:
    """By SSH and by ADB."""
    return live_board.up()


@pytest.fixture
def board_target(board_targets: tuple[Target, Target], tmp_path: Path) -> Target:
    return replace(board_targets[0], work_dir=f"/data/{tmp_path.name}/work dir")


@pytest.fixture
def board_adb_target(
    board_targets: tuple[Target, Target], adb_server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Target:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(adb_server))
    return replace(board_targets[1], work_dir=f"/data/{tmp_path.name}/work dir")
