"""Every meter through one whole run of a suite, all at once: what each records is the power that it was made to show, over the time that passed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from peers.instruments import SDK, instrument, kit, nvidia_driver, pi5, plugged_in
from peers.power import Counter, Files, PowerTree, Reading, Wave

from results.store import open_store
from targets import meters

SUITE = """
models: [{mlp: {epochs: 1}}]
methods: [float32]
backends: [onnxruntime]
targets: [bench]
sampling: {launches: 1, min_samples: 5, min_s: 0.02, min_sample_s: 0.001, evaluation_size: 50, energy_s: 2, energy_windows: 2, idle_s: 0.5}
"""
TREE: Files = {
    "class/powercap/intel-rapl:0/name": "package-0",
    "class/powercap/intel-rapl:0/max_energy_range_uj": "39999999",
    "class/powercap/intel-rapl:0/energy_uj": Counter(Wave(12.0), modulus=40_000_000),
    "class/hwmon/hwmon2/name": "ina226",
    "class/hwmon/hwmon2/power1_input": Reading(Wave(20.0)),
    "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in1_label": "VDD_IN",
    "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in1_input": "5000",
    "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr1_input": "1400",
    "class/power_supply/battery/status": "Discharging",
    "class/power_supply/battery/current_now": "-500000",
    "class/power_supply/battery/voltage_now": "4000000",
}
WATTS = {
    "rapl": 12.0, "hwmon": 20.0, "jetson": 7.0, "android_gauge": 2.0, "pi5_pmic": 3.25, "nvml": 100.0, "serial_line": 3.0, "scpi": 2.5,
    "ppk2": 0.2 * 3.3, "joulescope": 1.5, "monsoon": 1.92, "gpio_marked": 5.0,
}  # fmt: skip
BEST = "gpio_marked"
ANSWERS = {"*IDN?": "Keysight Technologies,N6705C,MY1,E.02", "SYST:ERR?": '+0,"No error"', "MEAS:POW? (@1)": "2.5"}


def test_no_meter_is_forgotten() -> None:
    assert set(meters.names()) == {*WATTS, "energy_model"}


@pytest.mark.torch
@pytest.mark.toolchain
def test_a_whole_run_with_every_meter(power_tree: PowerTree, tmp_path: Path) -> None:
    line = tmp_path / "gpio17"
    line.write_text("0")
    with ExitStack() as stack:
        port, _ = stack.enter_context(plugged_in(lambda n: b"%d,3000\n" % n))
        marked, _ = stack.enter_context(plugged_in(lambda _: b"%d,5000,%s\n" % (time.monotonic() * 1e6, line.read_bytes())))
        resource = stack.enter_context(instrument(ANSWERS.get))
        usb_port, _ = stack.enter_context(kit())
        logger = {"port": marked, "columns": ["time_us", "power_mw", "mark"]}
        given: list[str | dict[str, Any]] = [
            "rapl", "jetson", "hwmon", {"android_gauge": {"rate_hz": 10.0}}, {"pi5_pmic": {"program": pi5(tmp_path)}},
            {"nvml": {"library": nvidia_driver(tmp_path)}}, {"serial_line": {"port": port, "columns": ["count", "power_mw"]}},
            {"scpi": {"resource": resource, "rate_hz": 20.0}}, {"ppk2": {"port": usb_port, "volts": 3.3, "rate_hz": 100.0}},
            "joulescope", "monsoon", {BEST: {"file": str(line), "stream": {"serial_line": logger}, "tier": "T1"}},
        ]  # fmt: skip
        target = {"host": "localhost", "sysfs": str(power_tree(TREE)), "meters": given}
        (tmp_path / "inventory.yaml").write_text(yaml.safe_dump({"targets": {"bench": target}}))
        (tmp_path / "suite.yaml").write_text(SUITE)
        store = tmp_path / "store.db"
        words = ["run", "suite.yaml", "--inventory", "inventory.yaml", "--store", str(store), "--out", "out"]
        done = subprocess.run(
            [sys.executable, "-m", "harness.cli", *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": SDK},
            capture_output=True,
            text=True,
            timeout=1800,  # a hang, not a busy machine
        )
    assert done.returncode == 0, done.stdout + done.stderr
    with open_store(str(store)) as opened:
        (record,) = opened.records()
    facts = record.provenance["energy"]
    assert record.status == "ok" and not facts["silent"], facts["silent"]
    assert (facts["meter"], facts["tier"]) == (BEST, "T1") and facts["others"].keys() == WATTS.keys() - {BEST}
    told = {BEST: facts, **facts["others"]}
    good = {name: [window for window in told[name]["windows"] if "joules" in window] for name in WATTS}
    for name, windows in good.items():  # a busy machine may spoil one of them, and says so
        assert len(told[name]["windows"]) == 2 and all("reason" in w for w in told[name]["windows"] if w not in windows)
        for window in windows:
            joules = WATTS[name] * (window["end_s"] - window["begin_s"])
            assert abs(window["joules"] - joules) <= max(0.01 * joules, window["uncertainty_j"]), f"{name}: {window}"
    assert any(good.values()), {name: told[name]["windows"] for name in WATTS}

    energy, trace = record.measurement("energy"), record.measurement("power_trace")
    assert energy is not None and (energy.samples is None) == (not good[BEST])
    if energy.samples is None:
        return
    assert trace is not None and trace.samples is not None
    assert "T1" in energy.method and trace.samples.value == pytest.approx(WATTS[BEST]) and not trace.samples.timed.all()
    values = energy.samples.value.tolist()
    for per_inference, window in zip(values, good[BEST], strict=True):
        assert per_inference * window["inferences"] == pytest.approx(window["joules"])
    page = (tmp_path / "out" / "cells" / f"{record.id}.html").read_text()
    assert "gpio_marked" in page and "tier T1" in page
