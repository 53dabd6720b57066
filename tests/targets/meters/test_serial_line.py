"""Lines of a meter on a pseudo-terminal; and what is made of lines that are late, lost, garbled, or of a clock that wraps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from peers.instruments import plugged_in
from pydantic import TypeAdapter, ValidationError

from targets.meters.serial_line import SerialLine
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


def test_what_the_meter_writes_is_read_in_its_units_on_its_own_clock(here: Session) -> None:
    with plugged_in(lambda n: b"%d;%d;250,5000\r\n" % (n, 7_000_000 + 5_000 * n)) as (port, logger):
        meter = SerialLine(port, ("count", "time_us", "current_ma", "voltage_mv"), start="go", stop="halt")
        with meter.window(here) as recording:
            time.sleep(0.2)
            recording.stop()
        trace = recording.trace
    assert isinstance(trace, Trace) and logger.told == b"go\nhalt\n"
    assert len(trace.time_s) > 5 and trace.dropped == 0 and trace.tier == "T2" and trace.channels[0].unit == "W"
    assert np.allclose(np.diff(trace.time_s), 0.005) and np.allclose(trace.values, 1.25)
    assert trace.offset is not None and trace.offset.seconds > 0


def test_a_meter_that_falls_silent_or_leaves_is_no_trace(here: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("targets.power.listening.FIRST_S", 0.1)
    with plugged_in(lambda n: b"") as (port, _), SerialLine(port).window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "said nothing" in recording.trace.reason
    with SerialLine("/dev/no-such-port").window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "/dev/no-such-port cannot be opened" in recording.trace.reason


def test_a_meter_that_is_unplugged_is_no_trace(here: Session) -> None:
    with ExitStack() as plug:
        port, _ = plug.enter_context(plugged_in(lambda n: b"1,2\n"))
        with SerialLine(port).window(here) as recording:
            plug.close()
            time.sleep(0.3)
            recording.stop()
    assert isinstance(recording.trace, NoTrace) and "broke off" in recording.trace.reason


WATTS = 2.0
STEP_W = 1.0


def power_w(time_s: np.ndarray) -> np.ndarray:
    """Work from second 3 to second 13."""
    return WATTS + STEP_W * ((time_s >= 3) & (time_s < 13))


def heard(
    rng: np.random.Generator,
    *,
    drift: float = 0.0,
    lost: slice = slice(0),
    late_s: float = 0.002,
    energy_j: bool = False,
    start_ticks: int = 0,
) -> list[Heard[bytes]]:
    """Sixteen seconds at 100 readings a second of a meter whose clock is its own, as its lines arrive here."""
    true_s = np.arange(0, 16, 0.01)
    ticks = (start_ticks + true_s * (1 + drift) * 1e6).astype(np.int64) % (1 << 32)
    joules = WATTS * true_s + STEP_W * np.clip(true_s - 3, 0, 10)
    values = joules % 8 if energy_j else power_w(true_s)
    lines = [b"%d,%d,%.6f\n" % (n, t, v) for n, (t, v) in enumerate(zip(ticks, values, strict=True))]
    arrived_s = np.maximum.accumulate(true_s + rng.exponential(late_s, len(true_s)) + 1e-4)
    kept = np.ones(len(lines), bool)
    kept[lost] = False
    return [Heard(0.0, a, line) for a, line, is_kept in zip(arrived_s, lines, kept, strict=True) if is_kept]


METER = SerialLine("/dev/x", ("count", "time_us", "power_w"), rate_hz=100)
COUNTER = SerialLine("/dev/x", ("count", "time_us", "energy_j"), rate_hz=100, wraps_at_j=8)


@pytest.mark.parametrize(
    ("meter", "more"),
    [(METER, {}), (METER, {"drift": 2e-3}), (METER, {"start_ticks": (1 << 32) - 5_000_000}), (METER, {"late_s": 0.01}),
     (COUNTER, {"energy_j": True}), (COUNTER, {"energy_j": True, "drift": -1e-3, "start_ticks": (1 << 32) - 10_000_000})],
    ids=["plain", "drift", "clock wraps", "late", "counter wraps", "all of it"],
)  # fmt: skip
def test_known_joules_are_found_on_the_devices_clock(meter: SerialLine, more: dict[str, float], rng: np.random.Generator) -> None:
    found = energy(meter._trace(heard(rng, **more)), 2.5, 13.5)  # type: ignore[arg-type]
    assert isinstance(found, Energy) and found.flags == ()
    assert abs(found.joules - (11 * WATTS + 10 * STEP_W)) <= min(0.01 * 32, max(found.uncertainty_j, 1e-3))
    narrow = energy(meter._trace(heard(rng, **more)), 3.0, 13.0)  # type: ignore[arg-type] # its edges are the work's: here the clocks count
    assert isinstance(narrow, Energy) and abs(narrow.joules - 30) <= max(narrow.uncertainty_j, 1e-3)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_lost_lines_are_counted_and_leave_a_gap(rng: np.random.Generator) -> None:
    trace = METER._trace(heard(rng, lost=slice(600, 640)))
    assert trace.dropped == 40 and len(trace.time_s) == 1600 - 40 - 1
    found = energy(trace, 2.5, 13.5)
    assert {"gap", "drops"} <= set(found.flags)


def test_clocks_that_cannot_be_set_beside_each_other_are_lost_sync(rng: np.random.Generator) -> None:
    found = energy(METER._trace(heard(rng, late_s=2.0)), 2.5, 13.5)
    assert isinstance(found, Invalid) and "sync" in found.flags


def test_garbled_lines_are_lost_ones_and_too_many_of_them_an_error(rng: np.random.Generator) -> None:
    pieces = heard(rng)
    pieces[50] = Heard(0.0, pieces[50].got_s, b"50,\xff\xfe,2\n")
    pieces[51] = Heard(0.0, pieces[51].got_s, b"51,510000,nan\n# a remark\n\n")
    assert METER._trace(pieces).dropped == 2
    with pytest.raises(InstrumentError, match="check `baud`"):
        METER._trace([Heard(0.0, 0.1 * n, b"\x80\x07\xf1\n") for n in range(9)])
    with pytest.raises(InstrumentError, match="without an end of line"):
        METER._trace([Heard(0.0, 0.1, b"x" * 5000)])
    with pytest.raises(InstrumentError, match="went backwards"):
        METER._trace([*pieces, *pieces])


def test_without_a_clock_readings_lie_at_their_rate_and_without_that_where_they_arrive() -> None:
    pieces = [Heard(0.0, 5 + 0.1 * n + (0.03 if n % 2 else 0.0), b"1500\n") for n in range(20)]
    regular = SerialLine("/dev/x", ("power_mw",), rate_hz=10)._trace(pieces)
    assert (
        np.allclose(np.diff(regular.device_s), 0.1) and np.isclose(regular.device_s[1], 5.2) and np.allclose(regular.values, 1.5)
    )
    arrived = SerialLine("/dev/x", ("power_mw",))._trace(pieces)
    assert arrived.offset is None and np.allclose(arrived.time_s, [piece.got_s for piece in pieces[1:]])


@pytest.mark.parametrize(
    ("given", "why"),
    [('{"port": "x", "columns": ["time_s"]}', "one of power"), ('{"port": "x", "columns": ["time_s", "time_ms", "power_w"]}', "at most one"),
     ('{"port": "x", "columns": ["watts"]}', "Input should be"), ("{}", "Field required"), ('{"port": "x", "baud": 0}', "greater than 0")],
)  # fmt: skip
def test_parameters_that_make_no_sense_are_refused(given: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        TypeAdapter(SerialLine).validate_json(given, strict=True)


def test_a_missing_sdk_says_how_to_get_it(here: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "serial", None)
    with SerialLine(str(tmp_path)).window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "assay[meters]" in recording.trace.reason
