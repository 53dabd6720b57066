"""Half an hour on a virtual clock, and a moment of it on a real one: every sample and every reading with its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness import sustained as module
from harness.measure import Launch
from harness.runners.reply import Document
from harness.suite import Sampling
from harness.sustained import MOST_SAMPLES, Sustained, sustained
from results.record import Measurement
from results.sustained import pace
from targets.power.sampled import Readings
from targets.session import CommandFailed, Session
from targets.target import Target
from targets.transports import connect

HALF_AN_HOUR = Sampling(sustained_s=1800.0)
KNEE_S = 700.0
CPU = "devices/system/cpu/cpufreq/policy0"


def launched(sampling: Sampling, before_s: float) -> Launch:
    """A launch as long as it is told, whose device falls to two thirds of its clock at the knee. It takes no time."""
    n = 1800
    start_ns = [int(1e9 * sampling.min_s * i / n) for i in range(n)]
    duration = [round(1e8 * sampling.min_s / n * (1.0 if at < KNEE_S * 1e9 else 1.5)) for at in start_ns]
    process = dict.fromkeys(("cpu_s", "voluntary_switches", "involuntary_switches", "minor_faults", "major_faults"), 0)
    process |= {"cpu_s": 0.0, "affinity": None}  # type: ignore[dict-item]
    document = {
        "schema": 1, "nonce": "n", "mode": "time", "load_s": 0.001, "facts": {}, "versions": {},
        "clock": {"name": "CLOCK_MONOTONIC", "step_s": 1e-9}, "runner": {"implementation": "made up", "version": "1"},
        "memory": {"rss_before_load_bytes": 1, "rss_after_load_bytes": 1, "peak_rss_bytes": 1},
        "outputs": [{"file": "o", "size_bytes": 1, "tensors": [{"shape": [1], "dtype": "<f4", "quantization": None}]}],
        "samples": {"start_ns": start_ns, "duration_ns": duration, "loops": [100] * n, "timed": [True] * n},
        "warmup": {"samples": 5, "seconds": 0.1, "capped": False, "least_sample_s": sampling.min_sample_s},
        "process_before": process, "process_after": process,
        **{f"state_{when}": {"monotonic_s": before_s, "frequency_hz": None, "celsius": None, "reason": "made up"}
           for when in ("before", "after")},
    }  # fmt: skip
    return Launch(Document.model_validate(document), b"", 0.0)


def of(found: Sustained, metric: str) -> Measurement:
    return next(m for m in found.measurements if m.metric == metric)


def put(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(f"{text}\n")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A device's /sys, with a sensor that cannot be read."""
    root = tmp_path / "sys"
    put(root, "class/thermal/thermal_zone0/temp", "48000")
    (root / "class/thermal/thermal_zone1").mkdir()
    put(root, "class/hwmon/hwmon3/temp1_input", "51500")
    put(root, f"{CPU}/scaling_cur_freq", "1500000")
    put(root, f"{CPU}/stats/time_in_state", "1000000 50\n1500000 400")
    return root


@pytest.fixture
def session() -> Iterator[Session]:
    with connect(Target("local")) as found:
        yield found


def test_half_an_hour_with_a_knee_on_a_virtual_clock(session: Session, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_s = 5000.0
    time_s = begin_s - 1 + np.arange(0, 1801, 0.5)
    is_cool = time_s - begin_s < KNEE_S
    ticks = np.cumsum(np.where(is_cool, 1.5e6, 1e6)) * 50  # kHz times 10 ms, twice a second
    columns = {
        "temp": np.where(is_cool, 50e3, 85e3),
        "temp1_input": 40e3 + time_s,
        "scaling_cur_freq": np.where(is_cool, 1.5e6, 1e6),
    }

    @contextmanager
    def read(_: Session, paths: Sequence[str], rate_hz: float, make: Callable[[Readings], Any], __: str) -> Iterator[Any]:
        assert rate_hz >= 1, "once a second is the least"
        names = [path.rpartition("/")[2] for path in paths]
        values = np.stack([columns.get(name, ticks) for name in names], axis=1)
        yield SimpleNamespace(trace=make(Readings(time_s, values, None, 0)))

    monkeypatch.setattr(module, "sampled", read)
    asked: list[Sampling] = []

    def launch(sampling: Sampling) -> Launch:
        asked.append(sampling)
        return launched(sampling, begin_s)

    found = sustained(session, Target("board", sysfs=str(tree)), HALF_AN_HOUR, launch)
    (longer,) = asked
    assert longer.min_s == 1800.0 and longer.min_sample_s == 1800.0 / MOST_SAMPLES and longer.max_launch_s == 2100.0
    latency, heat, clock, mean = (
        of(found, metric).samples for metric in ("sustained_latency", "temperature_trace", "clock_trace", "residency_trace")
    )
    assert latency is not None and heat is not None and clock is not None and mean is not None
    kept = pace(latency)
    assert kept is not None and kept.knee_s == pytest.approx(KNEE_S, abs=30) and kept.kept == pytest.approx(2 / 3)
    assert heat.value[(heat.launch == 0)].tolist() == np.where(is_cool, 50.0, 85.0).tolist()
    assert heat.start_s[0] == -1.0 and np.diff(heat.start_s[heat.launch == 0]).max() <= 1.0
    assert {1.0e9, 1.5e9} == set(clock.value.tolist())
    assert mean.value[0] == pytest.approx(1.5e9) and mean.value[-1] == pytest.approx(1e9)
    assert found.provenance["sustained"] == {
        "temperature_trace": ["thermal_zone0", "hwmon3/temp1_input"], "clock_trace": ["policy0"], "residency_trace": ["policy0"],
    }  # fmt: skip
    assert [m.unit for m in found.measurements] == ["s", "°C", "Hz", "Hz"]


def test_a_moment_of_it_for_real(session: Session, tree: Path) -> None:
    def launch(sampling: Sampling) -> Launch:
        begin_s = time.monotonic()
        table = tree / CPU / "stats/time_in_state"
        for step in range(4):
            table.write_text(f"1000000 50\n1500000 {400 + 50 * step}\n")
            time.sleep(0.6)
        return launched(sampling, begin_s)

    found = sustained(session, Target("board", sysfs=str(tree)), Sampling(sustained_s=2.0), launch)
    heat, mean = of(found, "temperature_trace").samples, of(found, "residency_trace").samples
    assert heat is not None and mean is not None
    assert set(heat.value.tolist()) == {48.0, 51.5} and len(heat) >= 4
    assert mean.value.max() > 0 and (mean.value >= 0).all()


def test_a_device_that_shows_nothing_has_its_latency_and_reasons(session: Session, tmp_path: Path) -> None:
    found = sustained(session, Target("board", sysfs=str(tmp_path)), HALF_AN_HOUR, lambda sampling: launched(sampling, 1.0))
    assert of(found, "sustained_latency").samples is not None
    for metric in ("temperature_trace", "clock_trace", "residency_trace"):
        assert of(found, metric).samples is None and "no" in (of(found, metric).reason or "")


def test_a_sensor_that_cannot_be_read_while_it_loops_is_said_to_be_so(session: Session, tree: Path) -> None:
    def launch(sampling: Sampling) -> Launch:
        begin_s = time.monotonic()
        time.sleep(0.3)
        return launched(sampling, begin_s)

    (tree / "class/thermal/thermal_zone0/temp").write_text("asleep\n")
    found = of(sustained(session, Target("board", sysfs=str(tree)), Sampling(sustained_s=2.0), launch), "temperature_trace")
    assert found.samples is None and "could not be read" in (found.reason or "")


def test_a_launch_that_fails_costs_the_cell_nothing_but_the_reason(session: Session, tmp_path: Path) -> None:
    def launch(_: Sampling) -> Launch:
        raise CommandFailed("the runner was stopped after 2100 s")

    found = sustained(session, Target("board", sysfs=str(tmp_path)), HALF_AN_HOUR, launch)
    assert [(m.metric, m.reason) for m in found.measurements] == [("sustained_latency", "the runner was stopped after 2100 s")]
