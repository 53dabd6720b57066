"""Instruments that speak SCPI over TCP, as Keysight's and Yokogawa's do, driven by the real PyVISA."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from peers.instruments import instrument

from targets.meters.scpi import Scpi
from targets.power.integrate import Energy, energy
from targets.power.listening import Heard, InstrumentError
from targets.power.trace import NoTrace, Trace
from targets.session import Session
from targets.target import Target
from targets.transports import connect


@pytest.fixture
def here() -> Iterator[Session]:
    with connect(Target("local")) as session:
        yield session


def test_a_keysight_source_is_asked_for_watts(here: Session) -> None:
    asked: list[str] = []

    def answer(line: str) -> str | None:
        asked.append(line)
        return {
            "*IDN?": "Keysight Technologies,N6705C,MY1,E.02",
            "SYST:ERR?": '+0,"No error"',
            "MEAS:POW? (@2)": "2.500000E+00",
        }.get(line)

    with instrument(answer) as resource:
        begun_s = time.monotonic()
        with Scpi(resource, channel=2, rate_hz=5, range_w=(0, 20)).window(here) as recording:
            time.sleep(0.3)
            recording.stop()
        ended_s = time.monotonic()
    trace = recording.trace
    assert isinstance(trace, Trace), trace
    assert (trace.values == 2.5).all() and trace.facts["instrument"].startswith("Keysight Technologies,N6705C")
    assert (
        begun_s < trace.time_s[0]
        and trace.time_s[-1] < ended_s
        and trace.offset is not None
        and trace.offset.uncertainty_s <= 0.1
    )
    assert asked[:3] == ["*IDN?", "MEAS:POW? (@2)", "SYST:ERR?"]


def test_a_yokogawa_counts_watt_hours_of_known_energy(here: Session) -> None:
    """3.6 kW: one watt hour a second, so that the joules are those of the time that passed."""
    told: list[str] = []
    begun: list[float] = []

    def answer(line: str) -> str | None:
        if line == ":INTEG:STAR":
            begun.append(time.monotonic())
        if line == ":NUM:NORM:VAL?":
            return f"{time.monotonic() - begun[0]:.9f}"
        told.append(line)
        return {"*IDN?": "YOKOGAWA,WT310E,C1,F1", ":STAT:ERR?": '0,"No error"'}.get(line)

    with instrument(answer) as resource:
        meter = Scpi(resource, dialect="yokogawa_energy", rate_hz=10)
        with meter.window(here) as recording:
            time.sleep(0.3)
            recording.stop()
    trace = recording.trace
    assert isinstance(trace, Trace) and trace.channels[0].unit == "J"
    rise_j, seconds = float(np.ptp(trace.values)), float(np.ptp(trace.time_s))
    assert trace.offset is not None and abs(rise_j - 3600 * seconds) <= 2 * 3600 * trace.offset.uncertainty_s
    assert told[1:6] == [":RATE 100MS", ":NUM:FORM ASC", ":NUM:NORM:NUM 1", ":NUM:NORM:ITEM1 WH,1", ":INTEG:MODE NORM"]
    assert told[-1] == ":INTEG:STOP"


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"SYST:ERR?": '-113,"Undefined header"', "MEAS:POW? (@1)": "1"}, "objects: -113"),
        ({"SYST:ERR?": "+0", "MEAS:POW? (@1)": "ready"}, "no number"),
        ({}, "does not answer"),
    ],
)
def test_an_instrument_that_objects_or_is_mute_is_no_trace(
    here: Session, monkeypatch: pytest.MonkeyPatch, answers: dict[str, str], why: str
) -> None:
    monkeypatch.setattr("targets.meters.scpi.LIMIT_S", 0.5)
    with (
        instrument(lambda line: ({"*IDN?": "A,B,C,D"} | answers).get(line)) as resource,
        Scpi(resource).window(here) as recording,
    ):
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and why in recording.trace.reason


def test_an_instrument_that_goes_away_is_no_trace(here: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("targets.meters.scpi.LIMIT_S", 0.5)
    answers, mute = {"*IDN?": "A,B,C,D", "SYST:ERR?": "0", "MEAS:POW? (@1)": "1"}, threading.Event()
    with (
        instrument(lambda line: None if mute.is_set() else answers.get(line)) as resource,
        Scpi(resource).window(here) as recording,
    ):
        mute.set()
        time.sleep(0.7)
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "does not answer" in recording.trace.reason
    with Scpi("TCPIP::127.0.0.1::1::SOCKET").window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "refused" in recording.trace.reason
    with Scpi("TCPIP::nonsense").window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "cannot be opened" in recording.trace.reason


def heard(values: list[float], took_s: float = 0.001) -> list[Heard[float]]:
    return [Heard(100 + 0.1 * n, 100 + 0.1 * n + took_s, value) for n, value in enumerate(values)]


METER = Scpi("x", range_w=(0.0, 10.0))


def test_known_joules_and_what_spoils_them() -> None:
    watts = [2.0] * 20 + [3.0] * 100 + [2.0] * 30
    found = energy(METER._trace(heard(watts), {}), 101.0, 113.0)
    assert isinstance(found, Energy) and found.flags == () and abs(found.joules - 34) <= min(0.34, found.uncertainty_j)
    for spoiled, flag in ((9.91e37, "drops"), (math.nan, "drops"), (9.9e37, "clipped"), (math.inf, "clipped")):
        damaged = METER._trace(heard([*watts[:60], spoiled, *watts[61:]]), {})
        assert flag in energy(damaged, 101.0, 113.0).flags, spoiled
    assert METER._trace(heard([-math.inf, 1.0]), {}).values[0, 0] == 0
    lost = METER._trace(heard([*watts[:60], *[math.nan] * 8, *watts[68:]]), {})
    assert {"gap", "drops"} <= set(energy(lost, 101.0, 113.0).flags) and lost.dropped == 8


def test_an_answer_that_took_too_long_is_lost_for_nobody_knows_when_it_was_taken() -> None:
    slow = [*heard([2.0] * 5), Heard(101.0, 101.5, 2.0), Heard(101.6, 101.601, 2.0)]
    trace = METER._trace(slow, {})
    assert trace.dropped == 1 and trace.offset is not None and trace.offset.uncertainty_s < 0.01
    with pytest.raises(InstrumentError, match="none of them a value in time"):
        METER._trace([Heard(0.0, 1.0, 2.0)], {})
    with pytest.raises(InstrumentError, match="overloaded"):
        Scpi("x")._trace(heard([math.inf]), {})


def test_the_last_value_of_an_update_was_taken_before_the_question() -> None:
    trace = Scpi("x", dialect="yokogawa", update_s=0.5)._trace(heard([1.0, 2.0]), {})
    assert (
        np.allclose(trace.time_s, [99.5005, 99.6005])
        and trace.offset is not None
        and np.isclose(trace.offset.uncertainty_s, 0.2505)
    )


def test_an_instrument_of_another_kind_is_asked_in_its_own_words(here: Session) -> None:
    answers = {"*IDN?": "RIGOL,DP832,D1,1", "SYST:ERR?": "0", ":MEAS:POWE? CH1": "0.75"}
    with instrument(answers.get) as resource, Scpi(resource, query=":MEAS:POWE? CH1").window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, Trace) and recording.trace.values[0, 0] == 0.75


def test_a_missing_sdk_says_how_to_get_it(here: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyvisa", None)
    with Scpi("x").window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "assay[meters]" in recording.trace.reason
