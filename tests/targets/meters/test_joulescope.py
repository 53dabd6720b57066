"""A module in the driver's place, whose joules are known."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from peers.instruments import SDK

from targets.meters.joulescope import Joulescope, _block
from targets.power.integrate import Energy, energy
from targets.power.listening import InstrumentError
from targets.power.trace import NoTrace, Trace
from targets.session import Session
from targets.target import Target
from targets.transports import connect


@pytest.fixture
def here() -> Iterator[Session]:
    with connect(Target("local")) as session:
        yield session


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(SDK)
    monkeypatch.delitem(sys.modules, "pyjoulescope_driver", raising=False)
    yield importlib.import_module("pyjoulescope_driver")
    sys.modules.pop("pyjoulescope_driver")


def test_the_instruments_own_sum_is_the_energy(here: Session, sdk: Any) -> None:
    with Joulescope(rate_hz=50.0).window(here) as recording:
        time.sleep(0.3)
        recording.stop()
    trace = recording.trace
    assert isinstance(trace, Trace), trace
    assert (trace.tier, trace.facts["device"], trace.dropped) == ("T2", "u/js220/000123", 0) and len(trace.time_s) > 3
    assert np.allclose(np.diff(trace.values[:, 0]), 0.02 * sdk.WATTS) and (trace.peaks[:, 1] == sdk.PEAK_W).all()
    assert sdk.told["s/stats/scnt"] == 20_000 and sdk.told["s/i/range/mode"] == "auto"
    assert sdk.told["s/stats/ctrl"] == 0 and sdk.told["closed"] == "u/js220/000123"


def test_a_js110_is_told_what_it_needs(here: Session, sdk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "PATHS", ["u/js110/7", "u/js220/000123", "u/js320/9"])
    with Joulescope("7", rate_hz=50.0).window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, Trace), recording.trace
    assert sdk.told["s/stats/scnt"] == 40_000 and sdk.told["s/p/ctrl"] == "on"


@pytest.mark.parametrize(
    ("paths", "device", "why"),
    [([], "", "attached: none; `device` (not set) must leave one"),
     (["u/js220/1", "u/js220/2"], "", "u/js220/1, u/js220/2; `device` (not set)"),
     (["u/js320/1"], "", "must leave one js220 or js110"),
     (["u/js220/1"], "2", "`device` (2)")],
    ids=["none", "two", "unknown_model", "another"],
)  # fmt: skip
def test_which_instrument_must_be_clear(
    here: Session, sdk: Any, monkeypatch: pytest.MonkeyPatch, paths: list[str], device: str, why: str
) -> None:
    monkeypatch.setattr(sdk, "PATHS", paths)
    with Joulescope(device).window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and why in recording.trace.reason


def test_without_its_driver_or_while_another_has_it_there_is_a_reason(
    here: Session, sdk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk.Driver, "open", lambda *_: (_ for _ in ()).throw(RuntimeError("jsdrv_open failed 7 IN_USE")))
    with Joulescope().window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "IN_USE" in recording.trace.reason
    monkeypatch.setitem(sys.modules, "pyjoulescope_driver", None)
    with Joulescope().window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "assay[meters]" in recording.trace.reason
    monkeypatch.setitem(sys.modules, "pyjoulescope_driver", sdk)


def test_one_that_falls_silent_is_no_trace(here: Session, sdk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("targets.meters.joulescope.SILENCE_S", 0.1)
    with Joulescope(rate_hz=50.0).window(here) as recording:
        sdk.speaks = False
        time.sleep(0.5)
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "sends nothing any more" in recording.trace.reason


COUNT = 50_000


def blocks(sdk: Any, watts: np.ndarray, lost: slice = slice(0), peak_w: float = 9.0) -> list[Any]:
    """Of 50 ms each, whose arrival is 50 s later on our clock, a millisecond late."""
    joules = np.cumsum(watts) * COUNT / 1e6
    told = [sdk.block(i * COUNT, (i + 1) * COUNT, peak_w=peak_w if i == 100 else 3.0) for i in range(len(watts))]
    for one, sum_j in zip(told, joules, strict=True):
        one["accumulators"]["energy"]["value"] = float(sum_j)
    found = [_block(one, 50 + (i + 1) * 0.05 + 0.001) for i, one in enumerate(told)]
    del found[lost]
    return found


def test_known_joules_and_a_known_peak(sdk: Any) -> None:
    """1 W, and 3 W from second 2 to second 14, of 16."""
    watts = np.where((np.arange(320) >= 40) & (np.arange(320) < 280), 3.0, 1.0)
    trace = Joulescope()._trace(blocks(sdk, watts), {})
    found = energy(trace, 50.5, 63.02)
    assert isinstance(found, Energy) and found.flags == () and found.peak_w == 9.0
    own_j = (found.uncertainty_j**2 - (0.01 * found.joules) ** 2) ** 0.5
    assert abs(found.joules - (1.5 + 3 * 11.02)) <= own_j < 0.01 * found.joules
    quiet = energy(trace, 56.0, 63.0)
    assert isinstance(quiet, Energy) and quiet.peak_w == 3.0, "the peak was before"


def test_what_was_lost_or_too_much_is_flagged(sdk: Any) -> None:
    watts = np.full(320, 2.0)
    lost = Joulescope()._trace(blocks(sdk, watts, slice(150, 158)), {})
    found = energy(lost, 51.0, 63.0)
    assert lost.dropped == 8 and isinstance(found, Energy) and {"drops", "gap"} <= set(found.flags)
    assert abs(found.joules - 24.0) < 0.1, "the sum went on"
    many = blocks(sdk, np.full(2000, 2.0), peak_w=51.0)
    assert "clipped" in energy(Joulescope()._trace(many, {}), 51.0, 63.0).flags
    with pytest.raises(InstrumentError, match="its limit"):
        Joulescope()._trace(many[90:120], {})


@pytest.mark.parametrize(
    ("change", "why"),
    [({"joules": float("nan")}, "no number"), ({"peak_w": float("inf")}, "no number"), ({"joules": 0.0}, "fell")],
)
def test_sums_that_cannot_be_are_an_error(sdk: Any, change: dict[str, float], why: str) -> None:
    told = blocks(sdk, np.full(50, 2.0))
    told[20] = told[20]._replace(**change)
    with pytest.raises(InstrumentError, match=why):
        Joulescope()._trace(told, {})
