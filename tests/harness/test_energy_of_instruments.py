"""Each instrument through a whole run of a suite: what is recorded is the power that it was made to show, over the time that passed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from peers.instruments import instrument, kit, nvidia_driver, plugged_in

from results.store import open_store

SUITE = """
models: [{mlp: {epochs: 1}}]
methods: [float32]
backends: [onnxruntime]
targets: [serial, bench, profiler, card, phone]
sampling: {launches: 2, min_samples: 5, min_s: 0.02, min_sample_s: 0.001, evaluation_size: 50, energy_s: 10, energy_windows: 1, idle_s: 2}
"""
WATTS = {"serial": 3.0, "bench": 2.5, "profiler": 0.2 * 3.3, "card": 100.0, "phone": 2.0}
TIERS = {"serial": "T2", "bench": "T2", "profiler": "T2", "card": "T4", "phone": "T5"}
ANSWERS = {"*IDN?": "Keysight Technologies,N6705C,MY1,E.02", "SYST:ERR?": '+0,"No error"', "MEAS:POW? (@1)": "2.5"}


@pytest.fixture
def battery(tmp_path: Path) -> Path:
    """Where a phone's /sys is."""
    folder = tmp_path / "sys/class/power_supply/battery"
    folder.mkdir(parents=True)
    for name, text in (("status", "Discharging"), ("current_now", "-500000"), ("voltage_now", "4000000")):
        (folder / name).write_text(f"{text}\n")
    return tmp_path / "sys"


@pytest.mark.nightly
@pytest.mark.torch
@pytest.mark.toolchain
def test_a_whole_run_with_each_instrument(battery: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        serial_port, _ = stack.enter_context(plugged_in(lambda n: b"%d,3000\n" % n))
        resource = stack.enter_context(instrument(ANSWERS.get))
        usb_port, _ = stack.enter_context(kit())
        meters = {
            "serial": {"serial_line": {"port": serial_port, "columns": ["count", "power_mw"]}},
            "bench": {"scpi": {"resource": resource, "rate_hz": 20.0}},
            "profiler": {"ppk2": {"port": usb_port, "volts": 3.3, "rate_hz": 100.0}},
            "card": {"nvml": {"library": nvidia_driver(tmp_path)}},
            "phone": {"android_gauge": {"sysfs": str(battery), "rate_hz": 10.0}},
        }
        inventory = {"targets": {name: {"host": "localhost", "meters": [meter]} for name, meter in meters.items()}}
        (tmp_path / "inventory.yaml").write_text(yaml.safe_dump(inventory))
        (tmp_path / "suite.yaml").write_text(SUITE)
        store = tmp_path / "store.db"
        command = [
            sys.executable,
            "-m",
            "harness.cli",
            "run",
            "suite.yaml",
            "--inventory",
            "inventory.yaml",
            "--store",
            str(store),
        ]
        done = subprocess.run([*command, "--out", "out"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    with open_store(str(store)) as opened:
        records = {record.axes.target: record for record in opened.records()}
    assert records.keys() == WATTS.keys()
    for name, record in records.items():
        facts, energy = record.provenance["energy"], record.measurement("energy")
        assert record.status == "ok" and energy is not None and not facts["silent"], f"{name}: {facts['silent']}"
        assert facts["tier"] == TIERS[name]
        if energy.samples is None:  # a machine too busy to bring its readings in time says so
            assert "the clocks are known" in (energy.reason or ""), f"{name}: {energy.reason}"
            continue
        (window,) = facts["windows"]
        seconds = window["end_s"] - window["begin_s"]
        assert seconds >= 10 and "short" not in energy.flags
        assert abs(energy.samples.value[0] * window["inferences"] - WATTS[name] * seconds) <= max(
            0.01 * WATTS[name] * seconds, window["uncertainty_j"]
        )
