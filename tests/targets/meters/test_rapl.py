"""RAPL's counters in a tree that advances in time: what is added up, that counters begin again, and what is said where there is none."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
from peers.power import Counter, Files, PowerTree, Wave

from targets.meters.rapl import METER, Rapl, unwrapped
from targets.power import integrate
from targets.power.device_clock import ping
from targets.power.integrate import Energy, energy
from targets.power.trace import NoTrace, Trace
from targets.session import Session
from targets.target import Target
from targets.transports import connect

ZONES = "class/powercap/intel-rapl:"
PACKAGE = Wave(12.0, 4.0, 0.25)
DRAM = Wave(2.0)
FILES: Files = {
    f"{ZONES}0/name": "package-0",
    f"{ZONES}0/max_energy_range_uj": "1999999",
    f"{ZONES}0/energy_uj": Counter(PACKAGE, start=1_900_000, modulus=2_000_000),  # begins again every sixth of a second
    f"{ZONES}0:0/name": "core",
    f"{ZONES}0:0/max_energy_range_uj": "262143328850",
    f"{ZONES}0:0/energy_uj": Counter(Wave(9.0)),
    f"{ZONES}0:1/name": "dram",
    f"{ZONES}0:1/max_energy_range_uj": "262143328850",
    f"{ZONES}0:1/energy_uj": Counter(DRAM),
    f"{ZONES}1/name": "psys",
    f"{ZONES}1/max_energy_range_uj": "262143328850",
    f"{ZONES}1/energy_uj": Counter(Wave(30.0)),
}  # fmt: skip


def recorded(meter: Rapl, seconds: float, *, python: str = "") -> tuple[Trace | NoTrace, float]:
    """The trace, and when it began on the device's clock."""
    with connect(Target("local", python=python)) as session:
        return recorded_over(session, meter, seconds)


def recorded_over(session: Session, meter: Rapl, seconds: float) -> tuple[Trace | NoTrace, float]:
    with meter.window(session) as recording:
        begin_s = ping(session).device_s
        time.sleep(seconds)
        recording.stop()
        recording.stop()  # twice is fine
    return recording.trace, begin_s


@pytest.mark.parametrize("python", ["", "none"], ids=["python", "shell"])
def test_package_and_memory_are_added_and_cores_are_not(
    power_tree: PowerTree, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrate, "MOST_UNCERTAIN", 1.0)  # of a busy machine, too, the interval must be right
    trace, begin_s = recorded(Rapl(rate_hz=50, sysfs=str(power_tree(FILES))), 1.6, python=python)
    assert isinstance(trace, Trace)
    assert [(channel.rail, channel.unit) for channel in trace.channels] == [("package-0", "J"), ("dram", "J")]
    assert (trace.tier, trace.offset is None) == ("T4", python == "")
    zones = trace.facts["zones"]
    assert {facts["name"] for facts in zones.values() if facts["counts"]} == {"package-0", "dram"} and len(zones) == 4
    found = energy(trace, begin_s + 0.25, begin_s + 1.4)
    truth = PACKAGE.joules(begin_s + 0.25, begin_s + 1.4) + DRAM.joules(begin_s + 0.25, begin_s + 1.4)
    assert isinstance(found, Energy)
    late_j = 0.05 * 18.0  # what a busy machine may write late; a round of the counter that is missed is 2 J
    assert abs(found.joules - truth) <= max(0.01 * truth, found.uncertainty_j) + late_j


def test_the_platform_counts_alone(power_tree: PowerTree) -> None:
    tree = str(power_tree(FILES))
    trace, _ = recorded(Rapl(psys=True, sysfs=tree), 0.3)
    assert isinstance(trace, Trace) and [channel.rail for channel in trace.channels] == ["psys"]
    trace, _ = recorded(Rapl(dram=False, sysfs=tree), 0.3)
    assert isinstance(trace, Trace) and [channel.rail for channel in trace.channels] == ["package-0"]


def test_what_is_missing_is_said(power_tree: PowerTree, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    nothing, _ = recorded(Rapl(sysfs=str(tmp_path / "empty")), 0.0)
    assert isinstance(nothing, NoTrace) and "no counters of the CPU's energy" in nothing.reason
    no_range = power_tree({f"{ZONES}0/name": "package-0", f"{ZONES}0/energy_uj": "5"})
    trace, _ = recorded(Rapl(sysfs=str(no_range)), 0.0)
    assert isinstance(trace, NoTrace) and "max_energy_range_uj" in trace.reason
    unread = power_tree({f"{ZONES}0/name": "package-0", f"{ZONES}0/max_energy_range_uj": "9"})
    trace, _ = recorded(Rapl(sysfs=str(unread)), 0.0)
    assert isinstance(trace, NoTrace) and "root" in trace.reason
    alone = power_tree({f"{ZONES}0/name": "package-0", f"{ZONES}0/energy_uj": "5", f"{ZONES}0/max_energy_range_uj": "9"})
    trace, _ = recorded(Rapl(psys=True, sysfs=str(alone)), 0.0)
    assert isinstance(trace, NoTrace) and "psys" in trace.reason


def test_a_counter_that_begins_again_only_grows() -> None:
    truth = np.cumsum(np.random.default_rng(0).integers(0, 999, 500)).astype(np.float64)
    assert np.array_equal(unwrapped(truth % 1000, 1000), truth - truth[0] + truth[0] % 1000)


def test_its_parameters_are_those_of_the_inventory() -> None:
    assert METER is Rapl and {field.name for field in dataclasses.fields(Rapl)} >= {"dram", "psys", "rate_hz", "uncertainty"}
