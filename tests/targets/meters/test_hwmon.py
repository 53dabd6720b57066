"""Trees of power sensors as boards have them: the total by its label, rails by name, powers and products, and never a parent with its child."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers.power import Files, PowerTree, Reading, Wave

from targets.meters.hwmon import METER, Hwmon
from targets.power.device_clock import ping
from targets.power.integrate import Energy, energy
from targets.power.trace import NoTrace, Trace
from targets.target import Target
from targets.transports import connect

JETSON: Files = {
    "class/hwmon/hwmon4/name": "ina3221",
    "class/hwmon/hwmon4/in1_label": "VDD_IN",
    "class/hwmon/hwmon4/in2_label": "VDD_CPU_GPU_CV",
    "class/hwmon/hwmon4/in3_label": "VDD_SOC",
    **{f"class/hwmon/hwmon4/in{rail}_input": "5000" for rail in (1, 2, 3)},  # mV
    "class/hwmon/hwmon4/curr1_input": Reading(Wave(10.0, 4.0, 0.5), 5e-3),  # mA at 5 V
    "class/hwmon/hwmon4/curr2_input": Reading(Wave(4.0), 5e-3),
    "class/hwmon/hwmon4/curr3_input": Reading(Wave(2.0), 5e-3),
    "class/hwmon/hwmon4/curr4_input": Reading(Wave(16.0), 5e-3),
    "class/hwmon/hwmon4/in4_input": "7",
    "class/hwmon/hwmon0/name": "coretemp",
    "class/hwmon/hwmon0/power1_input": "123000000",
}


def ina226(chip: str, watts: float) -> Files:
    folder = f"class/hwmon/{chip}"
    power = {f"{folder}/power1_input": Reading(Wave(watts))}  # uW
    return {f"{folder}/name": chip, f"{folder}/in1_input": "850", f"{folder}/curr1_input": "1", **power}


ZCU102: Files = {**ina226("ina226_u76", 3.0), **ina226("ina226_u77", 5.0)}
LTC: Files = {
    "class/hwmon/hwmon1/name": "ltc2945",
    "class/hwmon/hwmon1/power1_input": Reading(Wave(7.0)),
}


def recorded(meter: Hwmon, seconds: float = 0.2) -> tuple[Trace | NoTrace, float]:
    with connect(Target("local")) as session, meter.window(session) as recording:
        begin_s = ping(session).device_s
        time.sleep(seconds)
    return recording.trace, begin_s


def channels(trace: Trace | NoTrace) -> list[tuple[str, Any]]:
    assert isinstance(trace, Trace), trace
    return [(channel.name, pytest.approx(watts)) for channel, watts in zip(trace.channels, trace.values[-1], strict=True)]


def test_the_total_counts_alone(power_tree: PowerTree) -> None:
    trace, _ = recorded(Hwmon(rate_hz=100, sysfs=str(power_tree(JETSON))), 0.5)
    assert isinstance(trace, Trace)
    assert [channel.name for channel in trace.channels] == ["ina3221/VDD_IN"]
    assert set(np.unique(trace.values).round(6)) <= {6.0, 14.0}
    assert (trace.tier, METER) == ("T3", Hwmon)
    rails = trace.facts["rails"]
    assert [name for name, facts in rails.items() if facts["counts"]] == ["ina3221/VDD_IN"]
    assert list(rails) == ["ina3221/VDD_CPU_GPU_CV", "ina3221/VDD_IN", "ina3221/VDD_SOC"], "the sum of all is no rail"


def test_energy_is_the_known_one(power_tree: PowerTree) -> None:
    trace, begin_s = recorded(Hwmon(rails=("VDD_SOC",), sysfs=str(power_tree(JETSON))), 1.5)
    assert isinstance(trace, Trace)
    found = energy(trace, begin_s + 0.25, begin_s + 1.25)
    assert isinstance(found, Energy) and found.joules == pytest.approx(2.0 * 1.0)


def test_rails_are_chosen_by_name(power_tree: PowerTree) -> None:
    tree = str(power_tree(JETSON))
    trace, _ = recorded(Hwmon(rails=("VDD_SOC", "ina3221/VDD_CPU_GPU_CV"), sysfs=tree))
    assert channels(trace) == [("ina3221/VDD_SOC", 2.0), ("ina3221/VDD_CPU_GPU_CV", 4.0)]
    trace, _ = recorded(Hwmon(rails=("VDD_GPU",), sysfs=tree))
    assert isinstance(trace, NoTrace) and "no rail `VDD_GPU`; there are ina3221/VDD_CPU_GPU_CV" in trace.reason


def test_rails_without_a_total_must_be_named(power_tree: PowerTree) -> None:
    tree = str(power_tree(ZCU102))
    trace, _ = recorded(Hwmon(sysfs=tree))
    assert isinstance(trace, NoTrace) and "ina226_u76/power1, ina226_u77/power1" in trace.reason
    trace, _ = recorded(Hwmon(rails=("power1",), sysfs=tree))
    assert isinstance(trace, NoTrace) and "2 rails are called `power1`" in trace.reason
    trace, _ = recorded(Hwmon(rails=("ina226_u76/power1", "ina226_u77/power1"), sysfs=tree))
    assert channels(trace) == [("ina226_u76/power1", 3.0), ("ina226_u77/power1", 5.0)]
    trace, _ = recorded(Hwmon(chip="ina226_u77", sysfs=tree))
    assert channels(trace) == [("ina226_u77/power1", 5.0)]


def test_the_only_rail_is_the_one(power_tree: PowerTree) -> None:
    trace, _ = recorded(Hwmon(sysfs=str(power_tree(LTC))))
    assert channels(trace) == [("ltc2945/power1", 7.0)]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    trace, _ = recorded(Hwmon(sysfs=str(tmp_path)), 0.0)
    assert isinstance(trace, NoTrace) and "no chip that measures power" in trace.reason and "modprobe" in trace.reason
    trace, _ = recorded(Hwmon(chip="ina219", sysfs=str(tmp_path)), 0.0)
    assert isinstance(trace, NoTrace) and "no chip `ina219`" in trace.reason
