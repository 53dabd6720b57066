"""A library in the driver's place, whose counter and power are known; and readings of known joules."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from peers.instruments import nvidia_driver

from targets.meters.nvml import INSTANT, MEAN, Nvml, _power_is
from targets.power.integrate import Energy, energy
from targets.power.sampled import Readings
from targets.power.trace import NoTrace, Trace
from targets.session import Session
from targets.target import Target
from targets.transports import connect


@pytest.fixture
def here() -> Iterator[Session]:
    with connect(Target("local")) as session:
        yield session


@pytest.mark.toolchain
@pytest.mark.parametrize("gpu", ["0", "GPU-1"])
def test_the_counter_of_a_driver_is_read_on_the_device(here: Session, tmp_path: Path, gpu: str) -> None:
    with Nvml(gpu, library=nvidia_driver(tmp_path)).window(here) as recording:
        time.sleep(0.5)
        recording.stop()
    trace = recording.trace
    assert isinstance(trace, Trace) and trace.tier == "T4", trace
    rise_j, seconds = float(np.ptp(trace.values)), float(np.ptp(trace.time_s))
    longest_s = float(np.diff(trace.time_s).max())  # on a busy machine a move may be seen late
    assert abs(rise_j - 100 * seconds) <= 100 * (0.02 + longest_s)
    assert trace.facts["gpu"] == "GPU of a test" and trace.facts["driver"] == "1.2"


@pytest.mark.toolchain
@pytest.mark.parametrize(
    ("more", "source", "means", "peak_w"),
    [({}, "NVML_FI_DEV_POWER_INSTANT", INSTANT, 250.0),
     ({"INSTANT": 3}, "nvmlDeviceGetPowerUsage", MEAN, None),
     ({"INSTANT": 3, "MAJOR": 8}, "nvmlDeviceGetPowerUsage", INSTANT, 100.0)],
    ids=["field", "newer_without_field", "ga100_without_field"],
)  # fmt: skip
def test_the_power_is_the_best_that_the_driver_tells(
    here: Session, tmp_path: Path, more: dict[str, float], source: str, means: str, peak_w: float | None
) -> None:
    with Nvml(library=nvidia_driver(tmp_path, PEAK=250, **more)).window(here) as recording:
        time.sleep(0.3)
        recording.stop()
    trace = recording.trace
    assert isinstance(trace, Trace), trace
    assert (trace.facts["power_from"], trace.facts["power_is"]) == (source, means)
    assert set(trace.peaks[:, 1]) == ({peak_w} if peak_w else set())
    assert trace.flags == (("cross_check",) if peak_w == 250.0 else ()), "it tells 250 W where the counter counts 100 W"


def test_power_usage_is_of_the_moment_up_to_ga100() -> None:
    said = [_power_is("nvmlDeviceGetPowerUsage", capability) for capability in ((7, 5), (8, 0), (8, 6), (9, 0))]
    assert said == [INSTANT, INSTANT, MEAN, MEAN] and _power_is("NVML_FI_DEV_POWER_INSTANT", (9, 0)) == INSTANT


@pytest.mark.toolchain
@pytest.mark.parametrize(
    ("more", "gpu", "why"),
    [({"START": 9}, "0", "does not begin"), ({}, "1", "GPU 1: Not Found"), ({}, "GPU-2", "GPU GPU-2: Not Found"),
     ({"COUNTER": 3}, "0", "millijoules: Not Supported")],
)  # fmt: skip
def test_what_the_driver_refuses_is_the_reason(here: Session, tmp_path: Path, more: dict[str, float], gpu: str, why: str) -> None:
    with Nvml(gpu, library=nvidia_driver(tmp_path, **more)).window(here) as recording:
        pass
    assert isinstance(recording.trace, NoTrace) and why in recording.trace.reason


def test_without_a_driver_or_python_there_is_a_reason(here: Session) -> None:
    with Nvml(library="libno-such-driver.so.1").window(here) as recording:
        pass
    assert isinstance(recording.trace, NoTrace) and "no NVIDIA driver" in recording.trace.reason
    with connect(Target("local", python="none")) as session, Nvml().window(session) as recording:
        pass
    assert isinstance(recording.trace, NoTrace) and "no Python" in recording.trace.reason


FACTS = {"power_is": INSTANT}


def readings(factor: float = 1.0) -> Readings:
    """200 W, and 600 W from second 3 to second 13, read 50 times a second; the counter moves every 0.1 s."""
    time_s = np.arange(0, 16, 0.02)

    def joules(at_s: np.ndarray) -> np.ndarray:
        return np.asarray(200 * at_s + 400 * np.clip(at_s - 3, 0, 10))

    watts = 200 + 400.0 * ((time_s >= 3) & (time_s < 13))
    counter = np.floor(1000 * factor * joules(np.floor(time_s * 10 + 1e-9) / 10))
    return Readings(time_s + 5e3, np.stack([counter, 1000 * watts], axis=1), None, 0)


@pytest.mark.parametrize("window", [(2.0, 14.0), (3.0, 13.0), (4.05, 11.87)])
def test_known_joules(window: tuple[float, float]) -> None:
    trace = Nvml()._trace(readings(), FACTS)
    assert isinstance(trace, Trace) and trace.flags == () and abs(trace.facts["power_over_counter"] - 1) < 0.01
    found = energy(trace, *(5e3 + at_s for at_s in window))
    truth = 200 * (window[1] - window[0]) + 400 * (min(window[1], 13) - max(window[0], 3))
    assert isinstance(found, Energy) and abs(found.joules - truth) <= 0.01 * truth and found.peak_w == 600.0
    coarse = Nvml()._trace(readings(), {"power_is": MEAN})
    assert isinstance(coarse, Trace)
    slow = energy(coarse, *(5e3 + at_s for at_s in window))
    assert isinstance(slow, Energy) and slow.joules == found.joules and slow.peak_w == pytest.approx(600.0, rel=0.1)


@pytest.mark.parametrize("factor", [0.85, 1.15])
def test_a_counter_and_a_power_that_differ_are_flagged(factor: float) -> None:
    trace = Nvml()._trace(readings(factor), FACTS)
    assert isinstance(trace, Trace) and trace.flags == ("cross_check",)
    assert "cross_check" in energy(trace, 5002.0, 5014.0).flags


def test_a_counter_that_goes_back_or_stands_still_is_no_trace() -> None:
    back, still = readings(), readings()
    back.values[400:, 0] -= 1e6
    still.values[:, 0] = 7
    for spoiled, why in ((back, "went back"), (still, "moved 0 times")):
        trace = Nvml()._trace(spoiled, FACTS)
        assert isinstance(trace, NoTrace) and why in trace.reason
