"""A program in vcgencmd's place on the device, whose rails are known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from peers.instruments import pi5

from targets.meters.pi5_pmic import Pi5Pmic
from targets.power.sampled import Readings
from targets.power.trace import NoTrace, Trace
from targets.session import Session
from targets.target import Target
from targets.transports import connect


@pytest.fixture
def here() -> Iterator[Session]:
    with connect(Target("local")) as session:
        yield session


def test_rails_that_have_both_are_added_up(here: Session, tmp_path: Path) -> None:
    with Pi5Pmic(program=pi5(tmp_path), rate_hz=50.0).window(here) as recording:
        time.sleep(0.3)
        recording.stop()
    trace = recording.trace
    assert isinstance(trace, Trace) and (trace.tier, trace.rate_hz) == ("T3", 50.0), trace
    assert [channel.name for channel in trace.channels] == ["VDD_CORE", "3V3_SYS", "HDMI"], "the input has no current"
    assert trace.values == pytest.approx(np.tile([2.0 * 0.8, 0.5 * 3.3, 0.0], (len(trace.time_s), 1))) and len(trace.time_s) > 2
    assert "USB" in trace.facts["not_in_it"]


@pytest.mark.parametrize(
    "line",
    ["VDD_CORE_A=2.5A\nVDD_CORE_V=0.8V", "VDD_CORE_A current(7)=2.5A\nVDD_CORE_A voltage(7)=0.8V"],
    ids=["plain", "one_name"],
)
def test_other_firmwares_words_are_understood(here: Session, tmp_path: Path, line: str) -> None:
    with Pi5Pmic(program=pi5(tmp_path, line)).window(here) as recording:
        time.sleep(0.1)
        recording.stop()
    assert isinstance(recording.trace, Trace) and recording.trace.values == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda folder: pi5(folder, 'error=1 error_msg="Command not registered"'), "Command not registered"),
        (lambda folder: pi5(folder, "EXT5V_V volt(24)=5.1V\nBATT_V volt(25)=nanV"), "tells no rail"),
        (lambda folder: str(folder / "vcgencmd"), "is it a Raspberry Pi 5"),
    ],
    ids=["a_pi_4", "no_currents", "no_program"],
)
def test_what_is_no_pi_5_is_no_trace(here: Session, tmp_path: Path, make: Callable[[Path], str], why: str) -> None:
    with Pi5Pmic(program=make(tmp_path)).window(here) as recording:
        pass
    assert isinstance(recording.trace, NoTrace) and why in recording.trace.reason


def test_without_python_there_is_a_reason() -> None:
    with connect(Target("local", python="none")) as session, Pi5Pmic().window(session) as recording:
        pass
    assert isinstance(recording.trace, NoTrace) and "no Python" in recording.trace.reason


def test_volts_times_amperes_at_each_moment() -> None:
    values = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    trace = Pi5Pmic()._trace(Readings(np.array([0.0, 0.1]), values, None, 3), ["a", "b"])
    assert trace.values.tolist() == [[2.0, 12.0], [30.0, 56.0]] and trace.dropped == 3
