"""One device seen from two hosts, over each transport, and a pen to change what lies in its lease folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from targets.target import Target


@dataclass
class Place:
    """The lease folder of the device, as someone there may read and write it."""

    folder: Path

    @property
    def top(self) -> Path:
        return max(path for path in self.folder.iterdir() if not path.name.startswith("."))

    def words(self) -> list[str]:
        return self.top.read_text().split()

    def rewrite(self, **fields: str) -> None:
        """Give some words of the lease other values."""
        names = ["kind", "nonce", "boot", "device", "token", "state", "expires", "since", "session", "uid", "holder"]
        values = dict(zip(names, self.words(), strict=True)) | fields
        self.top.write_text(" ".join(values.values()) + "\n")


@pytest.fixture
def place(own_leases: Path) -> Place:
    return Place(own_leases)


@pytest.fixture(params=["local", pytest.param("busybox_sshd", marks=pytest.mark.peers)])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    """This machine's own shell and tools, and busybox's behind a link."""
    if request.param == "local":
        return Target("device", work_dir=str(tmp_path / "work dir"))
    behind: Target = request.getfixturevalue("ssh_target")(request.getfixturevalue(request.param))
    return behind


@pytest.fixture
def elsewhere(target: Target) -> Target:
    """The same device from another host, where it is called otherwise: the two do not share a host's lock."""
    return replace(target, host="elsewhere")


@pytest.fixture
def is_running() -> Callable[[int], bool]:
    def running(pid: int) -> bool:
        stat = Path(f"/proc/{pid}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"

    return running
