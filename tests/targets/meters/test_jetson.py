"""Trees as Jetson modules have them, by newer kernels and by older ones."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from peers.power import Counter, Files, PowerTree, Reading, Wave

from targets.meters.jetson import METER, WHOLE, Jetson
from targets.power.trace import NoTrace, Trace
from targets.target import Target
from targets.transports import connect


def newer(address: str, watts: Mapping[str, float]) -> Files:
    folder = f"bus/i2c/drivers/ina3221/1-{address}/hwmon/hwmon3"
    files: dict[str, str | Counter | Reading] = {"bus/i2c/drivers/ina3221/bind": "", f"{folder}/name": "ina3221"}
    for number, (label, power_w) in enumerate(watts.items(), start=1):
        files |= {
            f"{folder}/in{number}_label": label,
            f"{folder}/in{number}_input": "5000",
            f"{folder}/curr{number}_input": Reading(Wave(power_w), 5e-3),
        }
    return files


def older(address: str, watts: Mapping[str, float]) -> Files:
    folder = f"bus/i2c/drivers/ina3221x/6-{address}/iio:device0"
    files: dict[str, str | Counter | Reading] = {}
    for number, (label, power_w) in enumerate(watts.items()):
        files |= {f"{folder}/rail_name_{number}": label, f"{folder}/in_power{number}_input": Reading(Wave(power_w), 1e-3)}
    return files


XAVIER: Files = {
    **newer("0040", {"GPU": 1.0, "CPU": 2.0, "SOC": 3.0}),
    **newer("0041", {"CV": 4.0, "VDDRQ": 5.0, "SYS5V": 6.0}),
}
AGX_ORIN: Files = {
    **newer("0040", {"VDD_GPU_SOC": 1.0, "VDD_CPU_CV": 2.0, "VIN_SYS_5V0": 3.0}),
    **newer("0041", {"NC": 0.0, "VDDQ_VDD2_1V8AO": 4.0}),
}


def recorded(meter: Jetson) -> Trace | NoTrace:
    with connect(Target("local")) as session, meter.window(session) as recording:
        time.sleep(0.3)
    return recording.trace


@pytest.mark.parametrize(
    ("files", "whole_w", "labels"),
    [
        (newer("0040", {"VDD_IN": 10.0, "VDD_CPU_GPU_CV": 4.0, "VDD_SOC": 2.0}), 10.0, ("VDD_IN",)),
        (older("0040", {"POM_5V_IN": 7.5, "POM_5V_GPU": 1.0, "POM_5V_CPU": 2.0}), 7.5, ("POM_5V_IN",)),
        (XAVIER, 21.0, WHOLE[2]),
    ],
    ids=["orin_nano", "nano", "agx_xavier"],
)
def test_the_whole_module_is_measured_once(power_tree: PowerTree, files: Files, whole_w: float, labels: tuple[str, ...]) -> None:
    trace = recorded(Jetson(sysfs=str(power_tree(files))))
    assert isinstance(trace, Trace) and (trace.tier, METER) == ("T3", Jetson)
    assert tuple(channel.rail for channel in trace.channels) == labels
    assert trace.values.sum(axis=1) == pytest.approx(whole_w)


def test_what_is_not_known_must_be_named(power_tree: PowerTree, tmp_path: Path) -> None:
    tree = str(power_tree(AGX_ORIN))
    unknown = recorded(Jetson(sysfs=tree))
    assert isinstance(unknown, NoTrace) and "1-0041/VDDQ_VDD2_1V8AO" in unknown.reason and "NC" not in unknown.reason
    chosen = recorded(Jetson(rails=("VDD_GPU_SOC", "1-0040/VDD_CPU_CV"), sysfs=tree))
    assert isinstance(chosen, Trace) and chosen.values.sum(axis=1) == pytest.approx(3.0)
    wrong = recorded(Jetson(rails=("VDD_IN",), sysfs=tree))
    assert isinstance(wrong, NoTrace) and "no rail `VDD_IN`" in wrong.reason
    nothing = recorded(Jetson(sysfs=str(tmp_path)))
    assert isinstance(nothing, NoTrace) and "no INA3221" in nothing.reason
