"""A machine that can be cut off, crashed and filled up: namespaces of its own for processes, network and mounts, with a real server inside."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from harness import visit
from harness.executor import Executor
from harness.identity import identify
from harness.plan import Cell, Done, plan
from harness.progress import Terminal
from harness.run import Conductor
from harness.steps import build_step
from harness.suite import Suite
from harness.suite_file import load_suite
from results.record import Record
from results.store import Store, open_store
from targets import watch
from targets.data import data_root
from targets.lease import look
from targets.state import restore
from targets.target import Target
from targets.transports import connect

SSHD = "/usr/sbin/sshd"
PLAYER = Path(__file__).with_name("player.sh")
ADBD = "usr/lib/android-sdk/platform-tools/adbd"
CELLS, LAUNCHES = 2, 3 if os.environ.get("ASSAY_NIGHTLY") else 2
SUITE = f"""\
models: [{{mlp: {{epochs: 1}}}}]
methods: [float32]
backends: [{{player: {{index: {list(range(1, CELLS + 1))}}}}}]
targets: [device]
operating_points: POINT
sampling: {{launches: {LAUNCHES}, warmup_samples: 0, warmup_s: 0, min_samples: 5, min_s: 0.05, max_launch_s: LIMIT, evaluation_size: 64}}
"""
CLOCK = {
    "scaling_driver": "fake", "scaling_governor": "schedutil", "scaling_available_governors": "performance schedutil", "related_cpus": "0",
    **{f"{start}_{end}_freq": clock for start in ("cpuinfo", "scaling") for end, clock in (("min", "600000"), ("max", "1500000"))},
    "scaling_cur_freq": "1500000",
}  # fmt: skip
"""The files of a clock that a governor may be chosen for, at each boot."""
BACKEND = '''
"""Plays answers back."""
from __future__ import annotations
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

SAID = {
    "schema": 1, "nonce": "@NONCE@", "load_s": 0.001, "versions": {}, "facts": {"boot": "@BOOT@"},
    "clock": {"name": "CLOCK_BOOTTIME", "step_s": 0.01},
    "memory": {"rss_before_load_bytes": 1, "rss_after_load_bytes": 1, "peak_rss_bytes": 1},
}
STATE = {"monotonic_s": 1.0, "frequency_hz": None, "celsius": None, "reason": "made up"}
PROCESS = {"cpu_s": 0.0, "affinity": None, "voluntary_switches": 0, "involuntary_switches": 0, "minor_faults": 0, "major_faults": 0}
TIMED = {
    "samples": {"start_ns": ["@STARTS@"], "duration_ns": ["@DURATIONS@"], "loops": [1] * 5, "timed": [True] * 5},
    "warmup": {"samples": 0, "seconds": 0.0, "capped": False, "least_sample_s": 0.005},
    "state_before": STATE, "state_after": STATE, "process_before": PROCESS, "process_after": PROCESS,
}

@dataclass(frozen=True)
class Player:
    index: int = 0
    runner: ClassVar[str] = "program"
    requires: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ()

    def supports(self, workload, numeric, target): return None
    def form(self, numeric, target): return "onnx"
    def build(self, exported, target, folder):
        import numpy as np
        import onnxruntime
        from harness.artifact import Artifact
        network = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
        with np.load(Path(FAULTS) / "examples.npz") as stored:
            (given,) = network.get_inputs()
            examples = exported.lay_out(stored["inputs"])
        answers = np.concatenate([network.run(None, {given.name: row[None]})[0] for row in examples])
        for mode, rows, more in (("answer", answers, {}), ("time", answers[:1], TIMED)):
            file = folder / f"{mode}.npz"
            np.savez(file, out0=rows)
            tensor = {"shape": rows.shape, "dtype": rows.dtype.str, "quantization": None}
            output = {"file": "@OUTPUT@", "size_bytes": file.stat().st_size, "tensors": [tensor]}
            who = {"implementation": "player", "version": str(self.index)}
            (folder / f"{mode}.json").write_text(json.dumps({**SAID, "mode": mode, "runner": who, "outputs": [output], **more}) + "\\n")
        program = folder / "player"
        program.write_text(Path("PLAYER").read_text().replace("@FAULTS@", FAULTS))
        program.chmod(0o755)
        return Artifact.of(folder, ("player", "answer.npz", "answer.json", "time.npz", "time.json"), {})

BACKEND = Player
'''


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each fault is a function of its seed: one of each in CI, twenty in the nightly session."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(20 if os.environ.get("ASSAY_NIGHTLY") else 1))


def run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


def fill(folder: Path) -> Path:
    """The file that takes all the room there, to the last byte."""
    with (folder / "fill").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC
    return folder / "fill"


@dataclass
class Machine:
    """Its disk is a tmpfs that a crash empties, its boot id is new at each boot, its link is a cable that can be pulled."""

    folder: Path
    adbd: Path | None = None
    """Where the packages of adbd are unpacked, which is its server then; sshd is otherwise."""
    number: int = field(default_factory=lambda: secrets.randbelow(50 * 16384))
    """No other's, also of tests that run at the same time."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return f"assay{self.number}"

    @property
    def address(self) -> str:
        return f"10.{200 + self.number // 16384 % 50}.{self.number // 64 % 256}.{4 * (self.number % 64) + 2}"

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    @property
    def clock(self) -> Path:
        return self.folder / "sys/devices/system/cpu/cpufreq/policy0"

    def is_as_it_was(self) -> bool:
        """Its settings, byte for byte."""
        return {file.name: file.read_text() for file in self.clock.iterdir()} == {
            name: f"{text}\n" for name, text in CLOCK.items()
        }

    @property
    def server(self) -> str:
        """Shell: it takes the place of the machine's init."""
        if self.adbd is None:
            return f"exec {SSHD} -D -e -f {self.folder}/config"
        libraries = next((self.adbd / "usr/lib").glob("*-linux-gnu*"))
        return (
            f"export PATH={self.folder}/tools:$PATH HOME={self.folder}/home && cd / && "
            f"while :; do ADBD_PORT=5555 LD_LIBRARY_PATH={libraries}/android:{libraries} {self.adbd / ADBD}; sleep 0.1; done"
        )

    @property
    def target(self) -> Target:
        by_adb = Target(
            "device", transport="adb", isa="x86_64", host=self.name, address=self.address, port=5555, connect_s=3, python="none",
            work_dir=f"{self.disk}/work", lease_dir=f"{self.disk}/lease", sysfs=f"{self.folder}/sys",
        )  # fmt: skip
        if self.adbd:
            return by_adb
        key, known = str(self.folder / "id"), str(self.folder / "known_hosts")
        return replace(by_adb, transport="ssh", port=22, user="root", key_file=key, known_hosts=known)

    def lay_cable(self) -> None:
        head, _, last = self.address.rpartition(".")
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", f"{self.name}h", "type", "veth", "peer", "name", f"{self.name}d", "netns", self.name)
        run("ip", "addr", "add", f"{head}.{int(last) - 1}/30", "dev", f"{self.name}h")
        run("ip", "-n", self.name, "addr", "add", f"{self.address}/30", "dev", f"{self.name}d")
        run("ip", "link", "set", f"{self.name}h", "up")
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        self.mend()

    def tear_down(self) -> None:
        self.crash()
        run("ip", "netns", "del", self.name)

    def boot(self) -> None:
        (self.folder / "boot_id").write_text(f"{uuid.uuid4()}\n")
        self.clock.mkdir(parents=True, exist_ok=True)
        for name, text in CLOCK.items():
            (self.clock / name).write_text(f"{text}\n")
        inside = (
            f"mount --bind {self.folder}/boot_id /proc/sys/kernel/random/boot_id && mount -t tmpfs -o size=24m tmpfs {self.disk} && "
            f"{self.server}"
        )
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", inside]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *unshare], stdout=log, stderr=log, start_new_session=True
            )
        for _ in range(1000):
            assert self.process.poll() is None, (self.folder / "log").read_text()
            with socket.socket() as probe:
                if probe.connect_ex((self.address, 5555 if self.adbd else 22)) == 0:
                    return
            time.sleep(0.01)
        raise AssertionError("the machine does not boot")

    def crash(self) -> None:
        if self.process is not None:
            self.process.kill()  # and the kernel all that is in its process namespace
            self.process.wait()
            self.process = None

    def reboot(self) -> None:
        self.crash()
        self.boot()

    def cut(self) -> None:
        """At its far end: here the route stays, and what is sent gets lost."""
        run("ip", "-n", self.name, "link", "set", f"{self.name}d", "down")

    def mend(self) -> None:
        run("ip", "-n", self.name, "link", "set", f"{self.name}d", "up")

    def inside(self) -> list[int]:
        """The ids, on this host, of the processes that run there; the first is sshd, or who starts adbd again."""
        assert self.process is not None
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop(0)
            try:
                waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except FileNotFoundError:
                continue
            found.append(pid)
        return found[1:]

    def cut_sessions(self) -> None:
        """Kill sshd's children, one for each connection, and let the listener be; or adbd, which is started again, as init does."""
        for pid in self.inside()[1:]:
            try:
                if Path(f"/proc/{pid}/comm").read_text().startswith(("sshd", "adbd")):
                    os.kill(pid, 9)
            except (FileNotFoundError, ProcessLookupError):
                continue

    def fill_disk(self) -> None:
        fill(Path(f"/proc/{self.inside()[0]}/root") / str(self.disk).lstrip("/"))

    def change_host_key(self) -> None:
        self.crash()
        for name in ("host_key", "host_key.pub"):
            (self.folder / name).unlink()
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "host_key")
        self.boot()

    def left_running(self) -> list[str]:
        """What runs of Assay left there."""
        found = []
        for pid in self.inside():
            try:
                if b"\0ASSAY_RUN=" in b"\0" + Path(f"/proc/{pid}/environ").read_bytes():
                    found.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which every artifact is made, a plug-in folder, and the folder where a fault is asked of the runner."""
    folder = tmp_path_factory.mktemp("workshop")
    for name in ("cache", "faults", "plugins/backends"):
        (folder / name).mkdir(parents=True)
    head = f"FAULTS = {str(folder / 'faults')!r}\n"
    text = BACKEND.replace("PLAYER", str(PLAYER))
    (folder / "plugins/backends/player.py").write_text(text.replace("BACKEND = Player", f"{head}BACKEND = Player"))
    # An emulated machine has no clock to set, and is as slow as this one is busy.
    for origin, point, limit_s in (("measured", "{governor: performance}", "2"), ("emulated", "{}", "120")):
        (folder / f"{origin}.yaml").write_text(SUITE.replace("POINT", point).replace("LIMIT", limit_s))
    return folder


@dataclass
class HostDisk:
    """A small disk of this machine's, which can be filled to the last byte and freed again."""

    folder: Path

    def fill(self) -> None:
        fill(self.folder)

    def free(self) -> None:
        (self.folder / "fill").unlink(missing_ok=True)


@pytest.fixture
def host_disk(tmp_path: Path) -> Iterator[HostDisk]:
    (tmp_path / "disk").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp_path / "disk"], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs root that may mount: a disk of its own")
    yield HostDisk(tmp_path / "disk")
    run("umount", "--lazy", tmp_path / "disk")


@pytest.fixture
def make_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path | None], Machine]]:
    """Boots machines; with adbd's packages, one that is reached by it."""
    for program, package in ((SSHD, "openssh-server"), ("ip", "iproute2"), ("unshare", "util-linux")):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} ({package})")
    tried = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip("needs root that may make namespaces: a machine of its own")
    with ExitStack() as stack:

        def make(adbd: Path | None = None) -> Machine:
            folder = tmp_path_factory.mktemp("machine")
            for name in ("home", "disk", "tools"):
                (folder / name).mkdir()
            Path("/run/sshd").mkdir(exist_ok=True)
            for name in ("host_key", "id"):
                run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", folder / name)
            shutil.copy(folder / "id.pub", folder / "authorized_keys")
            configuration = (
                "Port 22", "ListenAddress 0.0.0.0", f"HostKey {folder}/host_key", f"AuthorizedKeysFile {folder}/authorized_keys",
                "PidFile none", "UsePAM no", "StrictModes no", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
                f"SetEnv HOME={folder}/home PATH={folder}/tools:{os.environ['PATH']}",
            )  # fmt: skip
            (folder / "config").write_text("\n".join(configuration) + "\n")
            machine = Machine(folder, adbd)
            machine.lay_cable()
            stack.callback(machine.tear_down)
            (folder / "known_hosts").write_text(f"{machine.address} {(folder / 'host_key.pub').read_text()}")
            machine.boot()
            return machine

        yield make


@pytest.fixture
def machine(make_machine: Callable[[Path | None], Machine]) -> Machine:
    return make_machine(None)


@pytest.fixture
def adb_machine(
    make_machine: Callable[[Path | None], Machine], adbd_packages: Path, adb_server: int, monkeypatch: pytest.MonkeyPatch
) -> Machine:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(adb_server))
    return make_machine(adbd_packages)


@dataclass
class EmulatedBoard:
    """The same for the board of `assay board`: it reboots for real, and its QEMU can be killed."""

    live: Any
    """`LiveBoard`, whose fixture shares it with other tests."""
    by_ssh: Target
    target: Target

    def reboot(self) -> None:
        self.said("(sleep 0.1; reboot -f) </dev/null >/dev/null 2>&1 &")

    def kill(self) -> None:
        self.live.kill()

    def mend(self) -> None:
        self.live.up()

    def is_as_it_was(self) -> bool:
        """It has no clock that could have been changed."""
        return self.said("ls /sys/devices/system/cpu/cpufreq 2>/dev/null") == ""

    def left_running(self) -> list[str]:
        return self.said("cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep ^ASSAY_RUN=").splitlines()

    def said(self, script: str) -> str:
        """By OpenSSH's own client: no session of ours sweeps what another left."""
        way = self.by_ssh
        options = ("-i", way.key_file, "-p", str(way.port), "-o", f"UserKnownHostsFile={way.known_hosts}", "-o", "BatchMode=yes")
        command = ["ssh", "-F", "none", *options, "root@127.0.0.1", script]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


@dataclass
class Ordeal:
    """A run of the suite against a machine to which something happens."""

    machine: Machine | EmulatedBoard
    workshop: Path
    store_path: Path

    @property
    def suite(self) -> Path:
        return self.workshop / f"{self.machine.target.origin}.yaml"

    def ask(self, fault: str) -> None:
        """Of the runner."""
        (self.workshop / "faults" / fault).touch()

    def cells(self, store: Store | None = None) -> tuple[Suite, tuple[Cell, ...]]:
        """The suite, with what the store can answer marked."""
        targets = {"device": self.machine.target}
        suite = load_suite(str(self.suite), known_targets=targets)

        def done(hashes: Sequence[str]) -> Mapping[str, Done]:
            return {} if store is None else {k: Done(r, s) for k, (r, s) in store.finished_cells(hashes).items()}

        return suite, plan(suite, targets, identify(suite, targets), done)

    def prepare(self) -> None:
        """Make the artifacts, once for all tests."""
        suite, cells = self.cells()
        builds = [build_step(c.workload, c.method, c.backend, c.target, c.point.batch, suite.seed) for c in cells]
        with Executor(2) as executor:
            exports = [build.needs[0] for build in builds]
            assert not any(executor.run(exports).values())
            shutil.copy(exports[0].needs[0].folder / "examples.npz", self.workshop / "faults" / "examples.npz")
            failures = executor.run(builds)
            assert not any(failures.values()), failures

    def run(self, meanwhile: Callable[[], None] = lambda: None, after_s: float = 0.0) -> list[Record]:
        """Every cell's record, of a run in which something happens after a while, or just after its end."""
        timer = threading.Timer(after_s, meanwhile)
        timer.start()
        try:
            return self._run()
        finally:
            timer.join()

    def _run(self) -> list[Record]:
        with open_store(str(self.store_path)) as store, Executor(1) as executor:
            suite, cells = self.cells(store)
            run_ = Conductor(suite, store, executor, Terminal(LAUNCHES, quiet=True)).conduct(cells)
            records = [record for _, record in store.run_records(run_.id)]
            assert all(store.verify(record.id) for record in records if record)
            assert not any(store.launches(run_.id, cell.input_hash) for cell in cells), "a record holds its launches"
        assert len(records) == CELLS and None not in records, "a cell vanished"
        found = [record for record in records if record is not None]
        print("ended:", *(f"{record.status} at attempt {record.attempt}" for record in found), sep="\n")  # `pytest -rA` shows it
        return found


@pytest.fixture
def make_ordeal(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Machine | EmulatedBoard], Ordeal]:
    monkeypatch.setenv("ASSAY_CACHE", str(workshop / "cache"))
    monkeypatch.setenv("ASSAY_PLUGINS", str(workshop / "plugins"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(visit, "BACKOFF_S", 0.3)
    for file in (workshop / "faults").iterdir():
        if file.name != "examples.npz":
            file.unlink()

    def make(machine: Machine | EmulatedBoard) -> Ordeal:
        made = Ordeal(machine, workshop, tmp_path / "store.db")
        made.prepare()
        return made

    return make


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is no emulator answers at once, or not at all."""
    monkeypatch.setattr("targets.transports.ssh.connection.SILENCE_S", 2)
    monkeypatch.setattr(watch, "SILENCE_S", 5.0)
    monkeypatch.setattr(watch, "ANSWER_S", 10.0)
    monkeypatch.setattr("targets.conversation.QUIET_S", 1.0)
    monkeypatch.setattr("targets.conversation.START_S", 15.0)
    monkeypatch.setattr("targets.transports.ssh.connection.CHANNEL_S", 15.0)


@pytest.fixture
def ordeal(make_ordeal: Callable[[Machine], Ordeal], machine: Machine, impatient: None) -> Ordeal:
    return make_ordeal(machine)


@pytest.fixture
def adb_ordeal(make_ordeal: Callable[[Machine], Ordeal], adb_machine: Machine, impatient: None) -> Ordeal:
    return make_ordeal(adb_machine)


@pytest.fixture
def board_ordeal(
    make_ordeal: Callable[[EmulatedBoard], Ordeal], live_board: Any, adb_server: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ordeal]:
    """Reached by SSH and by ADB in turns."""
    ways = live_board.up()
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(adb_server))
    ordeal = make_ordeal(
        EmulatedBoard(live_board, ways[0], replace(ways[seed % 2], name="device", work_dir="/data/device", connect_s=15))
    )
    monkeypatch.setattr(visit, "BACKOFF_S", 2.0)  # it boots in three seconds on an idle machine
    monkeypatch.setattr("targets.conversation.QUIET_S", 2.0)
    yield ordeal
    live_board.up()


@pytest.fixture
def sound() -> Callable[[Ordeal, Sequence[Record]], None]:
    """What holds after every fault: nothing wrong is marked ok, no process and no lease is left, the device is as it was."""

    def check(ordeal: Ordeal, records: Sequence[Record]) -> None:
        for record in records:
            if record.status != "ok":
                assert record.reason and not record.measurements
                continue
            launches = record.provenance["runtime"]["launches"]
            latency = record.measurement("latency")
            assert latency is not None and latency.samples is not None and record.provenance["check"]["passed"]
            assert sorted(set(latency.samples.launch.tolist())) == list(range(LAUNCHES)) and len(launches) == LAUNCHES
            boots = {launch["facts"]["boot"] for launch in launches}
            assert boots == {record.provenance["device"]["facts"]["boot_id"]}, "all of one boot"
        deadline = time.monotonic() + 30
        while (left := ordeal.machine.left_running()) and time.monotonic() < deadline:
            time.sleep(0.1)  # a device that was cut off notices by itself
        assert not left
        with connect(ordeal.machine.target) as session:
            assert look(session, ordeal.machine.target).is_free
            restore(session, ordeal.machine.target, data_root() / "journals")  # of what was cut off too early to do so itself
        assert ordeal.machine.is_as_it_was()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("lease of")]

    return check
