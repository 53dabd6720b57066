"""The doctor looks at the real machine, and at made-up ones that are noisy or lack something."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import doctor
from harness.doctor import examine
from harness.errors import RunnerError
from harness.noise import Noise, known
from targets.facts import machine_facts, machine_key
from targets.session import CommandResult
from targets.state import journal
from targets.state.settings import Setting
from targets.target import Target
from targets.transports import connect


def test_this_machine_is_examined_and_every_complaint_says_how_to_mend_it() -> None:
    findings = examine(Target("local"))
    assert any("cores" in finding.what for finding in findings)
    assert any(finding.what.startswith("backend onnxruntime") and finding.level == "good" for finding in findings)
    assert all(finding.mend for finding in findings if finding.level in ("noise", "missing"))


class Bare:
    """A device with a switch set wrongly and no usable Python."""

    python = "/no/python"

    def run(self, argv: Sequence[str], **_: Any) -> CommandResult:
        is_smt = argv[-1].endswith("smt/active")
        return CommandResult(tuple(argv), 0 if is_smt else 127, b"1\n" if is_smt else b"", b"", 0.0)


def test_what_is_noisy_or_missing_on_a_device_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def connect(_target: Target) -> Iterator[Bare]:
        yield Bare()

    facts = {"cpu_model": "x", "cores": 4, "kernel": "6", "virtualization": "QEMU", "isa": "armv7l"}
    state = {
        "load_average": [3.5, 1.0, 1.0],
        "cpufreq": [{"policy": "policy0", "governor": "powersave"}],
        "throttling": {"firmware_bits": 0x50001, "android_thermal_status": 2},
        "temperatures": [{"type": "cpu", "celsius": 40.0}, {"type": "gpu", "celsius": 81.0}],
    }
    monkeypatch.setattr(doctor, "connect", connect)
    monkeypatch.setattr(doctor, "machine_facts", lambda _session: facts)
    monkeypatch.setattr(doctor, "state", lambda _session, **_: state)
    said = {finding.what: finding.level for finding in examine(Target("board", isa="aarch64", max_celsius=70))}
    for what, level in (
        ("a virtual machine (QEMU)", "noise"),
        ("load average 3.50 on 4 cores", "noise"),
        ("governor powersave", "noise"),
        ("this account may not set the clock", "note"),
        ("since it was started the device was under-voltage, throttled", "noise"),
        ("Android's thermal status is 2", "noise"),
        ("SMT is on", "noise"),
        ("the inventory says aarch64, the device is armv7l", "missing"),
        ("81 °C, the inventory allows 70", "noise"),
        ("no Python at /no/python on board", "missing"),
    ):
        assert any(text.startswith(what) and found == level for text, found in said.items()), what


def test_an_emulated_device_without_python_lacks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its times are not real: no load or clock makes them worse."""

    @contextmanager
    def connect(_target: Target) -> Iterator[Bare]:
        yield Bare()

    unknown = {"value": None, "reason": "emulated"}
    facts = {"cpu_model": "cortex-a72", "cores": unknown, "kernel": "6", "virtualization": "qemu-user 7.2", "isa": "aarch64"}
    monkeypatch.setattr(doctor, "connect", connect)
    monkeypatch.setattr(doctor, "machine_facts", lambda _session: facts)
    monkeypatch.setattr(
        doctor, "state", lambda _session, **_: {"load_average": [9.0], "cpufreq": unknown, "temperatures": unknown}
    )
    monkeypatch.setattr(doctor, "_host", lambda: ())
    said = {finding.what.partition(":")[0]: finding.level for finding in examine(Target("arm", transport="qemu", isa="aarch64"))}
    assert said == {"cortex-a72, kernel 6": "good", "emulated by qemu-user 7.2": "note", "no Python": "note"}


def test_a_device_that_a_killed_run_left_tuned_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    file = tmp_path / "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"
    file.parent.mkdir(parents=True)
    file.write_text("performance\n")
    target = Target("board", work_dir=str(tmp_path / "work"), sysfs=str(tmp_path / "sys"))
    journals = tmp_path / "data/assay/journals"
    setting = Setting("devices/system/cpu/cpufreq/policy0/scaling_governor", "ondemand", "performance", "performance")
    with connect(target) as session:
        kept = journal.begin(session, target, journals, (setting,))
        try:
            found = [finding for finding in examine(target) if finding.what.startswith("left tuned by a run that was killed")]
        finally:
            journal.clear(session, target, journals, kept)
    assert [(finding.level, setting.name in finding.what) for finding in found] == [("noise", True)]
    assert file.read_text() == "performance\n"  # looked at, not touched
    assert not any("left tuned" in finding.what for finding in examine(target))
    (Path("/var/tmp") / f"assay-state-{os.getuid()}" / journal.file_there(target)).unlink()


NOISE = Noise(0.012, 1.001, 0.99, 1.012, 20, 6e8, 2.001, 1.99, 2.01, "2026-01-02T03:04:05Z")


def test_the_noise_floor_is_told_and_kept_for_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    target, asked = Target("desk", work_dir=str(tmp_path / "work")), []

    def measured(_session: Any, _target: Target, seconds: float) -> Noise:
        asked.append(seconds)
        return dataclasses.replace(NOISE, floor=0.03, scaling_low=2.1) if len(asked) > 1 else NOISE

    monkeypatch.setattr(doctor, "measured_noise", measured)
    assert not any("noise floor" in finding.what for finding in examine(target)) and not asked
    floor, load = examine(target, 3.0)[-2:]
    assert asked == [3.0] and floor.level == load.level == "good" and floor.what.startswith("noise floor 1.20%")
    with connect(target) as session:
        key = machine_key(machine_facts(session))
    kept = known(key)
    assert kept is not None and kept["floor"] == 0.012
    floor, load = examine(target, 3.0)[-2:]
    assert floor.level == load.level == "noise" and "--noise 30" in floor.mend and "pin the clock" in load.mend


def test_where_no_floor_can_be_had_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*_: Any) -> Noise:
        raise RunnerError("the device computes wrongly")

    monkeypatch.setattr(doctor, "measured_noise", measured)
    found = examine(Target("desk", work_dir=str(tmp_path / "work")), 1.0)[-1]
    assert found.level == "missing" and "computes wrongly" in found.what
    found = examine(Target("half", work_dir=str(tmp_path / "work"), cpu_quota=0.5), 1.0)[-1]
    assert found.level == "note" and "no measurements" in found.what
