"""A CPU quota: what a process gets of it, by its own CPU clock, and that what comes out is never called measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.quota import LEAST_SAMPLE_S, UNABLE, held, patient
from harness.suite import Sampling
from targets.inventory import load_inventory
from targets.target import Target
from targets.transports import connect

BUSY = """
import time
begin, cpu = time.monotonic(), time.process_time()
while time.monotonic() - begin < 1.0: pass
print((time.process_time() - cpu) / (time.monotonic() - begin))
"""


def can_make_groups() -> bool:
    base = Path("/sys/fs/cgroup")
    return os.access(base / "cpu" if (base / "cpu").is_dir() else base, os.W_OK) and os.geteuid() == 0


def test_without_a_quota_nothing_changes() -> None:
    assert held(["python3", "run"], Target("desk")) == ("python3", "run")
    assert patient(Sampling(), Target("desk")) == Sampling()


def test_what_is_held_to_a_quota_is_emulated_and_takes_long_samples(tmp_path: Path) -> None:
    (tmp_path / "devices.yaml").write_text("targets:\n  half: {cpu_quota: 0.5}\n")
    target = load_inventory(tmp_path / "devices.yaml")["half"]
    assert target.origin == "emulated" and target.cpu_quota == 0.5
    assert patient(Sampling(), target).min_sample_s == LEAST_SAMPLE_S
    assert patient(Sampling(min_sample_s=1.0), target).min_sample_s == 1.0


@pytest.mark.skipif(not can_make_groups(), reason="no control group can be made here")
def test_a_process_gets_its_quota_and_no_more() -> None:
    with connect(Target("local")) as session:
        ended = session.run(held([session.python, "-c", BUSY], Target("slow", cpu_quota=0.3)), timeout_s=60)
    assert ended.exit_status == 0, ended.stderr
    assert float(ended.stdout) <= 0.36  # a period more than its share; a busy machine gives it less


def test_a_device_without_control_groups_says_so_and_runs_nothing(tmp_path: Path) -> None:
    command = list(held(["touch", str(tmp_path / "ran")], Target("slow", cpu_quota=0.3)))
    command[2] = command[2].replace("/sys/fs/cgroup", str(tmp_path / "absent"))
    (tmp_path / "absent").write_text("no folder")
    with connect(Target("local")) as session:
        ended = session.run(command, timeout_s=60)
    assert ended.exit_status == UNABLE and b"no CPU quota can be set" in ended.stderr and not (tmp_path / "ran").exists()
