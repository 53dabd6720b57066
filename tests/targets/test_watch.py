"""The watch: it outlives the harness, knows its own from strangers', and keeps the device's disk in bounds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from targets.session import CommandFailed
from targets.target import Target
from targets.transports import connect

pytestmark = pytest.mark.peers
ROOT = Path(__file__).resolve().parents[2]
HARNESS = """
import json, sys
from targets.target import Target
from targets.transports import connect
given = json.loads(sys.argv[1])
with connect(Target(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})) as session:
    # adbd says HUP to a command whose connection ended: what stops here must be the watch's and the sweep's doing
    session.run(["sh", "-c", "trap '' HUP; echo $$ >leader; setsid sh -c 'echo $$ >escaped; exec sleep 300' & exec sleep 300"], timeout_s=100)
"""


@pytest.fixture(params=["sshd", "android", "old_adbd"])
def target(request: pytest.FixtureRequest) -> Target:
    way = "ssh_target" if request.param == "sshd" else "adb_target"
    made: Target = request.getfixturevalue(way)(request.getfixturevalue(request.param))
    return made


def harness(target: Target) -> subprocess.Popen[bytes]:
    """Another process that runs a long command on the device."""
    process = subprocess.Popen([sys.executable, "-c", HARNESS, json.dumps(asdict(target))], cwd=ROOT)
    for name in ("leader", "escaped"):
        until(lambda name=name: (Path(target.work_dir) / name).exists() and number(target, name) > 0)  # type: ignore[misc]
    return process


def number(target: Target, name: str) -> int:
    return int((Path(target.work_dir) / name).read_text().strip() or 0)


def until(holds: Callable[[], bool]) -> None:
    for _ in range(1500):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come to pass")


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


def test_a_killed_harness_leaves_nothing_running(target: Target) -> None:
    process = harness(target)
    process.kill()
    process.wait()
    until(lambda: not is_running(number(target, "leader")) and not is_running(number(target, "escaped")))


def test_what_a_killed_harness_and_a_killed_watch_left_is_swept_by_the_next_session(target: Target) -> None:
    process = harness(target)
    environ = Path(f"/proc/{number(target, 'leader')}/environ").read_bytes().split(b"\0")
    (run,) = [entry.removeprefix(b"ASSAY_RUN=") for entry in environ if entry.startswith(b"ASSAY_RUN=")]
    os.kill(int(run.split(b".")[1]), 9)
    process.kill()
    process.wait()
    (Path(target.work_dir) / ".assay" / "incoming" / run.decode()).write_bytes(b"half a file")
    assert is_running(number(target, "leader")) and is_running(number(target, "escaped"))
    with connect(target):
        assert not is_running(number(target, "leader")) and not is_running(number(target, "escaped"))
        assert not list((Path(target.work_dir) / ".assay" / "incoming").iterdir())


def test_what_another_living_session_runs_is_left_alone(target: Target) -> None:
    process = harness(target)
    with connect(target) as session:
        session.run(["true"], timeout_s=30)
        assert is_running(number(target, "leader")) and is_running(number(target, "escaped"))
    assert process.poll() is None
    process.kill()
    process.wait()


def test_runs_of_a_container_are_left_alone(target: Target) -> None:
    name = f"1.{2**22 + 1}.5.000001"
    process = subprocess.Popen(["sleep", "300"], env={**os.environ, "ASSAY_RUN": name})
    with connect(target):
        assert process.poll() is None
    process.kill()
    process.wait()


def test_files_beyond_the_limit_go_least_recently_pushed_first(target: Target, tmp_path: Path) -> None:
    with connect(target) as session:
        for age, name in enumerate(("old", "with space/ünï", "young")):
            (tmp_path / "source").write_bytes(name.encode() * 1000)
            session.push(tmp_path / "source", name)
            pushed = 1_000_000 + 100 * age
            os.utime(Path(target.work_dir) / ".assay" / "pushed" / name, (pushed, pushed))
        session.run(["sh", "-c", "echo mine >own; echo 'b s i a[$(touch${IFS}hacked)] x' >.assay/pushed/own"], timeout_s=30)
    total = sum(1000 * len(name.encode()) for name in ("with space/ünï", "young"))
    with connect(replace(target, max_disk_bytes=total)) as session:
        listed = session.run(["find", ".", "-type", "f", "!", "-path", "./.assay/*"], timeout_s=30).stdout.decode().splitlines()
    assert sorted(listed) == ["./own", "./with space/ünï", "./young"], "what was not pushed is not ours to delete"


def test_a_work_directory_that_cannot_be_is_told(target: Target, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CommandFailed, match=r"would not begin: .*check `work_dir`"),
        connect(replace(target, work_dir=str(tmp_path / "file" / "x"))),
    ):
        pass


@pytest.mark.parametrize(("work_dir", "is_at"), [("", ".cache/assay/device/device"), ("~/some where", "some where")])
def test_the_work_directory_is_found_from_the_accounts_home(
    sshd: Any, ssh_target: Callable[[Any], Target], work_dir: str, is_at: str
) -> None:
    with connect(replace(ssh_target(sshd), work_dir=work_dir)) as session:
        assert session.run(["pwd"], timeout_s=30).stdout.decode().strip() == str(sshd.folder / "home" / is_at)
    assert (sshd.folder / "home" / is_at).stat().st_mode & 0o777 == 0o700


def test_a_work_directory_that_vanished_is_named(target: Target, tmp_path: Path) -> None:
    with connect(target) as session:
        Path(target.work_dir).rename(tmp_path / "gone")
        with pytest.raises(CommandFailed, match="cannot be entered"):
            session.run(["true"], timeout_s=30)


def test_a_login_shell_that_is_none_of_posix_is_told(
    make_sshd: Callable[..., Any], ssh_target: Callable[[Any], Target], tmp_path: Path
) -> None:
    """As tcsh or fish would: what stands in quotes comes out changed."""
    shell = tmp_path / "shell.py"
    shell.write_text(
        "import os\ncommand = os.environ['SSH_ORIGINAL_COMMAND'].replace('$HOME', 'changed')\nos.execv('/bin/sh', ['sh', '-c', command])\n"
    )
    server = make_sshd(f"ForceCommand {sys.executable} {shell}")
    with pytest.raises(CommandFailed, match="does not read quotes as POSIX says"), connect(ssh_target(server)):
        pass
