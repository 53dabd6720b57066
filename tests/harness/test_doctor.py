"""The doctor looks at the real machine, and at made-up ones that are noisy or lack something."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from harness import doctor
from harness.doctor import examine
from targets.session import CommandResult
from targets.target import Target


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
        "cpufreq": [{"governor": "powersave"}],
        "temperatures": [{"type": "cpu", "celsius": 40.0}, {"type": "gpu", "celsius": 81.0}],
    }
    monkeypatch.setattr(doctor, "connect", connect)
    monkeypatch.setattr(doctor, "machine_facts", lambda _session: facts)
    monkeypatch.setattr(doctor, "state", lambda _session: state)
    said = {finding.what: finding.level for finding in examine(Target("board", isa="aarch64", max_celsius=70))}
    for what, level in (
        ("a virtual machine (QEMU)", "noise"),
        ("load average 3.50 on 4 cores", "noise"),
        ("governor powersave", "noise"),
        ("SMT is on", "noise"),
        ("the inventory says aarch64, the device is armv7l", "missing"),
        ("81 °C, the inventory allows 70", "noise"),
        ("no Python at /no/python on board", "missing"),
    ):
        assert any(text.startswith(what) and found == level for text, found in said.items()), what
