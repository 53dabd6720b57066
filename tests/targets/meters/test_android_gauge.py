"""A phone's power_supply as files that a thread keeps changing: unit, sign, charging."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from targets.meters.android_gauge import AndroidGauge
from targets.power.integrate import Energy, energy
from targets.power.sampled import Readings
from targets.power.trace import NoTrace, Trace
from targets.session import Session
from targets.target import Target
from targets.transports import connect


@pytest.fixture(params=["", "none"], ids=["python", "shell"])
def phone(request: pytest.FixtureRequest) -> Iterator[Session]:
    with connect(Target("local", python=request.param)) as session:
        yield session


@pytest.fixture
def battery(tmp_path: Path) -> Path:
    folder = tmp_path / "class/power_supply/battery"
    folder.mkdir(parents=True)
    for name, text in (("status", "Discharging"), ("current_now", "-500000"), ("voltage_now", "4000000")):
        (folder / name).write_text(f"{text}\n")
    return folder


def test_what_the_battery_gives_is_read_on_the_phone(phone: Session, battery: Path, tmp_path: Path) -> None:
    with AndroidGauge(sysfs=str(tmp_path), rate_hz=50).window(phone) as recording:
        time.sleep(0.3)
        recording.stop()
    trace = recording.trace
    assert isinstance(trace, Trace) and trace.tier == "T5", trace
    assert np.allclose(trace.values, 2.0) and trace.facts == {"current": "microamperes", "emptied_is": "negative"}


def test_while_it_is_charged_there_is_no_energy(phone: Session, battery: Path, tmp_path: Path) -> None:
    with AndroidGauge(sysfs=str(tmp_path), rate_hz=50).window(phone) as recording:
        (battery / "status").write_text("Charging\n")
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "`Charging`" in recording.trace.reason
    with AndroidGauge(sysfs=str(tmp_path)).window(phone) as recording:
        pass
    assert isinstance(recording.trace, NoTrace) and "unplug it" in recording.trace.reason


def test_a_file_that_is_not_there_is_a_reason(phone: Session, battery: Path, tmp_path: Path) -> None:
    (battery / "current_now").unlink()
    with AndroidGauge(sysfs=str(tmp_path)).window(phone) as recording:
        pass
    assert isinstance(recording.trace, NoTrace) and "current_now cannot be read" in recording.trace.reason


def readings(current: np.ndarray, millivolts: bool = False) -> Readings:
    """A reading every half second for 16 s."""
    volts = np.full(len(current), 4000.0 if millivolts else 4e6)
    return Readings(np.arange(len(current)) / 2, np.stack([current, volts], axis=1), None, 0)


AMPERES = np.where((np.arange(33) / 2 >= 3) & (np.arange(33) / 2 <= 13), 0.8, 0.3)


@pytest.mark.parametrize("scale", [-1e6, 1e6, -1e3, 1e3])
@pytest.mark.parametrize("millivolts", [False, True])
def test_known_joules_in_every_vendors_unit_and_sign(scale: float, millivolts: bool) -> None:
    trace = AndroidGauge()._trace(readings(AMPERES * scale, millivolts), "")
    assert isinstance(trace, Trace)
    found = energy(trace, 4.0, 12.0)
    assert isinstance(found, Energy) and np.isclose(found.joules, 0.8 * 4 * 8, rtol=1e-6)


def test_a_unit_that_is_said_is_not_guessed() -> None:
    trace = AndroidGauge(unit="microamperes")._trace(readings(np.full(9, 5000.0)), "")
    assert isinstance(trace, Trace) and np.allclose(trace.values, 0.02)


def test_a_current_that_turns_round_and_one_that_was_never_read_are_no_trace() -> None:
    turned = AndroidGauge()._trace(readings(np.array([-1e5, 2e5])), "")
    assert isinstance(turned, NoTrace) and "changed its sign" in turned.reason
    unread = AndroidGauge()._trace(Readings(np.zeros(0), np.zeros((0, 2)), None, 4), "")
    assert isinstance(unread, NoTrace) and "no reading" in unread.reason
