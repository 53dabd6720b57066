"""A line of the device that a logger watches beside the power; and edges of known clocks."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers.instruments import plugged_in

from targets.errors import UserError
from targets.meters import spelled
from targets.meters.gpio_marked import PULSES, GpioMarked, pings
from targets.power.trace import Channel, NoTrace, Offset, Trace
from targets.session import Session
from targets.target import Target
from targets.transports import connect

AHEAD_S = 7.0
"""Of the logger's clock before the device's."""


@pytest.fixture
def here() -> Iterator[Session]:
    with connect(Target("local")) as session:
        yield session


@pytest.fixture
def line(tmp_path: Path) -> Path:
    path = tmp_path / "value"
    path.write_text("0")
    return path


def logger(line: Path, watched: bool = True) -> Any:
    """What it writes: its time, milliwatts, and the line's level if it watches it."""

    def level() -> bytes:
        return line.read_bytes() if watched and line.is_file() else b"0"

    def row(_: int) -> bytes:
        while True:  # what is written was the level at that time, however long this process waited between its looks
            before, now_s, after = level(), time.monotonic() + AHEAD_S, level()
            if before == after:
                return b"%d,2500,%s\n" % (now_s * 1e6, after)

    return row


def meter(port: str, line: Path, pulse_s: float = 0.05, **more: Any) -> GpioMarked:
    return GpioMarked(str(line), {"serial_line": {"port": port, "columns": ["time_us", "power_mw", "mark"]}}, pulse_s, **more)


def test_edges_set_the_clocks_beside_each_other(here: Session, line: Path) -> None:
    with plugged_in(logger(line)) as (port, _), meter(port, line, 0.5, tier="T1").window(here) as recording:
        begin_s = time.monotonic()
        time.sleep(0.1)
        recording.stop()
        recording.stop()
    trace = recording.trace
    assert isinstance(trace, Trace), trace
    assert (trace.meter, trace.tier, trace.facts["stream"], trace.facts["edges"]) == (
        "gpio_marked",
        "T1",
        "serial_line",
        4 * PULSES,
    )
    assert (
        trace.offset is not None
        and abs(trace.on_device(np.array([begin_s + AHEAD_S]))[0] - begin_s) <= trace.offset.uncertainty_s
    )
    assert np.allclose(trace.values, 2.5) and trace.device_s[0] < begin_s and line.read_text() == "0"


def test_a_line_that_rests_high_is_left_high(here: Session, line: Path) -> None:
    line.write_text("1")
    marks = GpioMarked(str(line), {"ppk2": {"port": "/dev/x", "volts": 3.3}}, 0.01).marks(here)
    assert isinstance(marks, np.ndarray) and marks.shape == (2 * PULSES, 2) and line.read_text() == "1"
    assert (np.diff(marks.ravel()) >= 0).all() and (np.diff(marks[:, 0]) >= 0.01).all()


@pytest.mark.parametrize("said", ["", "[[1, 2]]", "[[1, NaN]]", "{}", json.dumps([[2.0, 1.0]] * 2 * PULSES)])
def test_marks_that_cannot_be_are_no_trace(line: Path, tmp_path: Path, said: str) -> None:
    liar = tmp_path / "python"
    liar.write_text(f"#!/bin/sh\necho '{said}'\n")
    liar.chmod(0o755)
    with connect(Target("local", python=str(liar))) as session:
        marks = GpioMarked(str(line), {"ppk2": {"port": "/dev/x", "volts": 3.3}}).marks(session)
    assert isinstance(marks, NoTrace) and "cannot be switched" in marks.reason


def test_a_wire_that_is_loose_is_no_trace(here: Session, line: Path) -> None:
    with plugged_in(logger(line, watched=False)) as (port, _), meter(port, line).window(here) as recording:
        pass
    assert (
        isinstance(recording.trace, NoTrace) and f"switched {4 * PULSES} times, and serial_line saw 0" in recording.trace.reason
    )


def test_what_cannot_be_switched_or_heard_is_no_trace(here: Session, line: Path) -> None:
    with plugged_in(logger(line)) as (port, _), meter(port, line / "no").window(here) as recording:
        pass
    assert isinstance(recording.trace, NoTrace) and "cannot be switched" in recording.trace.reason
    with meter("/dev/no-such-port", line).window(here) as recording:
        pass
    assert isinstance(recording.trace, NoTrace) and "/dev/no-such-port cannot be opened" in recording.trace.reason
    with plugged_in(logger(line)) as (port, _), meter(port, line).window(here) as recording:
        line.rename(line.with_name("gone"))
    assert isinstance(recording.trace, NoTrace) and "cannot be switched" in recording.trace.reason
    with connect(Target("local", python="none")) as session, meter("/dev/x", line).window(session) as recording:
        pass
    assert isinstance(recording.trace, NoTrace) and "no Python" in recording.trace.reason


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        ({}, "one meter"),
        ({"ppk2": {}, "scpi": {}}, "one meter"),
        ({"pkk2": {}}, "Did you mean `ppk2`"),
        ({"ppk2": {"volt": 3}}, "unknown parameter `volt`"),
        ({"energy_model": {}}, "is a model"),
    ],
)
def test_a_stream_is_checked_before_any_device_is_touched(stream: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        spelled("gpio_marked", {"file": "/x", "stream": stream})


METER = GpioMarked("/x", {"ppk2": {"port": "/dev/x", "volts": 3.3, "input": 2}})


def marked(rng: np.random.Generator, drift: float = 0.0, step_s: float = 0.0) -> tuple[Trace, np.ndarray, np.ndarray]:
    """Marks at both ends of 20 s, switched within 40 us, seen by a meter that samples every 0.1 ms, and whose clock steps in between."""
    begun_s = 100 + np.concatenate([np.arange(6) * 0.1, 20 + np.arange(6) * 0.1])
    marks = np.stack([begun_s, begun_s + rng.uniform(1e-5, 4e-5, 12)], axis=1)
    at_s = rng.uniform(marks[:, 0], marks[:, 1]) - 100
    seen_s = at_s * (1 + drift) + 3 + np.where(at_s > 10, step_s, 0.0)
    edges_s = np.floor(seen_s[:, None] / 1e-4) * 1e-4 + [0, 1e-4]
    time_s = np.arange(2.0, 26.0, 1e-3)
    trace = Trace("ppk2", "T2", "measured", "its own", time_s, np.ones((len(time_s), 1)), (Channel("power", "W"),), 1000.0, None,
                  offset=Offset(0.0, math.inf), edges_s=edges_s)  # fmt: skip
    return trace, marks[:6], marks[6:]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("drift", [0.0, 1e-4, -2e-4])
def test_the_offset_holds_the_truth(seed: int, drift: float) -> None:
    found = METER.aligned(*marked(np.random.default_rng(seed), drift))
    assert isinstance(found, Trace) and found.offset is not None and found.offset.uncertainty_s < 2e-4
    meter_s = np.linspace(3, 23, 50)
    truth_s = (meter_s - 3) / (1 + drift) + 100
    assert np.abs(found.on_device(meter_s) - truth_s).max() <= found.offset.uncertainty_s


def test_a_clock_that_stepped_is_lost_and_edges_that_do_not_fit_are_no_trace() -> None:
    found = METER.aligned(*marked(np.random.default_rng(1), step_s=0.5))
    assert isinstance(found, Trace) and found.offset is not None and found.offset.uncertainty_s == math.inf
    trace, before, after = marked(np.random.default_rng(1))
    trace.edges_s[3] += 0.05
    odd = METER.aligned(trace, before, after)
    assert isinstance(odd, NoTrace) and "not those that the device made" in odd.reason


@pytest.mark.parametrize("seed", range(20))
def test_a_short_recording_of_a_busy_machine_is_a_trace(seed: int) -> None:
    """Its widest edges lie far outside of what its two narrowest hold between them."""
    rng = np.random.default_rng(seed)
    trace, before, after = marked(rng)
    after -= 19.3
    time_s = np.cumsum(rng.exponential(0.02, 200)) + 2.9
    made_s = np.concatenate([before, after])[:, 1] - 97
    index = np.searchsorted(time_s, made_s)
    found = METER.aligned(replace(trace, edges_s=np.stack([time_s[index - 1], time_s[index]], axis=1)), before, after)
    assert isinstance(found, Trace) and found.offset is not None
    middle_s = np.array([before[-1, 1], after[0, 0]]) - 97
    assert np.abs(found.on_device(middle_s) - middle_s - 97).max() <= found.offset.uncertainty_s


def test_a_mark_is_a_look_at_both_clocks() -> None:
    (ping,) = pings(np.array([[10.0, 10.2]]), np.array([[3.0, 3.5]]))
    assert ping == pytest.approx((2.9, 10.1, 3.6))
