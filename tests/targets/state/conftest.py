"""A device's /sys as a tree on disk: two clusters with clocks of their own, boost, a temperature. And phones made of scripts."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from targets.session import Session
from targets.state import journal
from targets.target import Target
from targets.transports import connect

CPU = "devices/system/cpu"
LITTLE = {
    "related_cpus": "0 1 2 3",
    "scaling_driver": "cpufreq-dt",
    "scaling_available_governors": "ondemand performance schedutil powersave",
    "scaling_available_frequencies": "1500000 600000 1000000 ",  # in the order that a driver likes
    "scaling_governor": "ondemand",
    "scaling_min_freq": "600000",
    "scaling_max_freq": "1500000",
    "scaling_cur_freq": "1500000",
    "cpuinfo_min_freq": "600000",
    "cpuinfo_max_freq": "1500000",
    "stats/time_in_state": "600000 1000\n1000000 50\n1500000 400",
}
BIG = LITTLE | {
    "related_cpus": "4 5",
    "scaling_available_frequencies": "1000000 2400000",
    "scaling_governor": "schedutil",
    "scaling_min_freq": "1000000",
    "scaling_max_freq": "2400000",
    "scaling_cur_freq": "1000000",
    "cpuinfo_min_freq": "1000000",
    "cpuinfo_max_freq": "2400000",
    "stats/time_in_state": "1000000 900\n2400000 70",
}


@dataclass(frozen=True)
class Tree:
    """A device's /sys."""

    root: Path

    def path(self, name: str, policy: int = 0) -> Path:
        """Of a cpufreq file of a policy."""
        return self.root / CPU / f"cpufreq/policy{policy}" / name

    def put(self, name: str, text: str, policy: int = 0) -> None:
        self.place(f"{CPU}/cpufreq/policy{policy}/{name}", text)

    def get(self, name: str, policy: int = 0) -> str:
        return self.path(name, policy).read_text().strip()

    def place(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")

    def settings(self, policy: int = 0) -> tuple[str, str, str]:
        return (self.get("scaling_governor", policy), self.get("scaling_min_freq", policy), self.get("scaling_max_freq", policy))

    def content(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(self.root.rglob("*")) if path.is_file()}


@pytest.fixture
def sys_tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "s y's")
    for policy, files in ((0, LITTLE), (4, BIG)):
        for name, text in files.items():
            tree.put(name, text, policy)
    tree.place(f"{CPU}/cpufreq/boost", "1")
    tree.place("class/thermal/thermal_zone0/type", "cpu-thermal")
    tree.place("class/thermal/thermal_zone0/temp", "48000")
    return tree


@pytest.fixture(params=["local", pytest.param("busybox_sshd", marks=pytest.mark.peers)])
def device(request: pytest.FixtureRequest, sys_tree: Tree, tmp_path: Path) -> Iterator[Target]:
    """A device that has the tree for its /sys; `busybox_sshd`: one with busybox's tools alone, over SSH."""
    if request.param == "local":
        target = Target("device", work_dir=str(tmp_path / "work dir"), sysfs=str(sys_tree.root))
    else:
        behind: Any = request.getfixturevalue("ssh_target")(request.getfixturevalue(request.param))
        target = dataclasses.replace(behind, sysfs=str(sys_tree.root))
    yield target
    for file in (there(target), there(target).with_name(f".{there(target).name}.part")):
        file.unlink(missing_ok=True)


def there(target: Target) -> Path:
    """The device's own copy of its restore journal, for a device that is this machine."""
    return Path("/var/tmp") / f"assay-state-{os.getuid()}" / journal.file_there(target)


@pytest.fixture
def journal_there(device: Target) -> Path:
    return there(device)


@pytest.fixture
def local_device(sys_tree: Tree, tmp_path: Path) -> Iterator[Target]:
    target = Target("device", work_dir=str(tmp_path / "work dir"), sysfs=str(sys_tree.root))
    yield target
    for file in (there(target), there(target).with_name(f".{there(target).name}.part")):
        file.unlink(missing_ok=True)


@pytest.fixture
def journal_there_local(local_device: Target) -> Path:
    return there(local_device)


@pytest.fixture
def session(device: Target) -> Iterator[Session]:
    with connect(device) as session:
        yield session


@pytest.fixture
def local_session(local_device: Target) -> Iterator[Session]:
    with connect(local_device) as session:
        yield session


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts shell scripts first on the device's PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def put(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return put
