"""A package in the maker's place, that sends packets of known amperes."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from peers.instruments import SDK

from targets.meters.monsoon import Monsoon
from targets.power.integrate import Energy, Invalid, energy
from targets.power.listening import Heard, InstrumentError
from targets.power.trace import NoTrace, Trace
from targets.session import Session
from targets.target import Target
from targets.transports import connect


@pytest.fixture
def here() -> Iterator[Session]:
    with connect(Target("local")) as session:
        yield session


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(SDK)
    monkeypatch.delitem(sys.modules, "Monsoon", raising=False)
    yield importlib.import_module("Monsoon")
    sys.modules.pop("Monsoon")


def test_what_it_sends_is_read_on_its_own_clock(here: Session, sdk: Any) -> None:
    with Monsoon().window(here) as recording:
        time.sleep(0.3)
        recording.stop()
    trace = recording.trace
    assert isinstance(trace, Trace), trace
    assert np.allclose(trace.values, sdk.AMPERES * sdk.VOLTS, rtol=1e-3) and (trace.tier, trace.dropped) == ("T2", 0)
    assert np.allclose(np.diff(trace.time_s), 0.001) and trace.facts["serial"] == 20561 and trace.facts["volts"] == 4.0


@pytest.mark.parametrize(
    ("change", "why"),
    [({"SERIALS": []}, "attached: none"),
     ({"SERIALS": ["1", "2"]}, "1, 2; `device` (not set) must leave one"),
     ({"HARDWARE": 1}, "no High Voltage Power Monitor")],
    ids=["none", "two", "low_voltage"],
)  # fmt: skip
def test_what_is_not_there_is_no_trace(
    here: Session, sdk: Any, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], why: str
) -> None:
    for name, value in change.items():
        monkeypatch.setattr(sdk, name, value)
    with Monsoon().window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and why in recording.trace.reason


def test_without_its_package_or_its_permission_there_is_a_reason(
    here: Session, sdk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> list[str]:
        raise ValueError("The device has no langid (permission issue, no string descriptors supported or device error)")

    monkeypatch.setattr(sdk.Monsoon, "enumerateDevices", refused)
    with Monsoon().window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "permission issue" in recording.trace.reason
    monkeypatch.setitem(sys.modules, "Monsoon", None)
    with Monsoon().window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "assay[meters]" in recording.trace.reason


def test_one_that_breaks_off_is_no_trace(here: Session, sdk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with Monsoon().window(here) as recording:
        monkeypatch.setattr(sdk.Monsoon, "is_closed", property(lambda self: True, lambda self, value: None), raising=False)
        time.sleep(0.1)
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "broke off" in recording.trace.reason


SCALES = {"fine_a": 36_500e-6, "coarse_a": 6.4, "fine_zero": 0.0, "coarse_zero": 0.0, "serial": 1.0}


def heard(
    sdk: Any, *, lost: slice = slice(0), most_a: float = 0.3, seconds: float = 9.0, lost_at_start: int = 65_530
) -> list[Heard[bytes]]:
    """0.02 A, and `most_a` from second 2 to second 7, of 4 V, calibrated every second; our clock shows 50 s more."""
    at_s = np.arange(int(seconds * 5000)) / 5000
    amperes = np.where((at_s >= 2) & (at_s < 7), most_a, 0.02)
    kinds = np.select([np.arange(len(at_s)) % 5000 == 0, np.arange(len(at_s)) % 5000 == 1], [0x10, 0x30], 0)
    found, gone = list[Heard[bytes]](), lost_at_start
    for number in range(0, len(at_s) - 2, 3):
        if lost.start is not None and lost.start <= number < lost.stop:
            gone += 3
            continue
        said = sdk.packet(amperes[number : number + 3], kinds[number : number + 3], gone % 65_536)
        found.append(Heard(0.0, 50 + (number + 2) / 5000 + 0.001, said))
    return found


def test_known_joules_of_both_ranges(sdk: Any) -> None:
    trace = Monsoon()._trace(heard(sdk), SCALES)
    for begin_s, end_s, joules in ((51.0, 58.0, 4 * (0.02 * 2 + 0.3 * 5)), (52.5, 56.5, 4 * 0.3 * 4)):
        found = energy(trace, begin_s, end_s)
        assert isinstance(found, Energy) and set(found.flags) <= {"short"}, found
        assert abs(found.joules - joules) <= 0.005 * joules


def test_lost_samples_are_counted_over_the_counters_end_and_leave_a_gap(sdk: Any) -> None:
    trace = Monsoon()._trace(heard(sdk, lost=slice(25_000, 25_090)), SCALES)
    found = energy(trace, 51.0, 58.0)
    assert trace.dropped == 90 and {"drops", "gap"} <= set(found.flags)
    assert trace.offset is not None and trace.offset.uncertainty_s < 0.005, "what comes after is not moved"


def test_a_converter_at_its_end_is_clipped_and_invalid(sdk: Any) -> None:
    found = energy(Monsoon()._trace(heard(sdk, most_a=200.0), SCALES), 51.0, 58.0)
    assert isinstance(found, Invalid) and "clipped" in found.flags


@pytest.mark.parametrize(
    ("said", "why"),
    [([b"\0" * 64], "no samples"), ([bytes([0, 0, 0, 9]).ljust(64, b"\0")], "no samples"), (None, "not calibrated")],
    ids=["empty", "garbled", "too_short"],
)
def test_packets_that_cannot_be_are_an_error(sdk: Any, said: list[bytes] | None, why: str) -> None:
    pieces = said or [sdk.packet(np.zeros(3), np.zeros(3, np.int64))]
    with pytest.raises(InstrumentError, match=why):
        Monsoon()._trace([Heard(0.0, float(i), piece) for i, piece in enumerate(pieces)], SCALES)
