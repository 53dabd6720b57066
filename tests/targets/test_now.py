"""How a device is just now, from fake /proc and /sys trees of known devices, and from the machine this runs on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from device_tree import RASPBERRY_PI_4, absent, tree

from targets.now import state
from targets.session import Session


def test_a_raspberry_pis_state_is_read_in_si_units(session: Session, tmp_path: Path) -> None:
    assert state(session, tree(tmp_path, RASPBERRY_PI_4)) == {
        "load_average": [0.52, 0.58, 0.59],
        "uptime_s": 12345.67,
        "memory_available_bytes": 3_000_000 * 1024,
        "cpufreq": [
            {
                "policy": "policy0",
                "driver": "cpufreq-dt",
                "governor": "ondemand",
                "current_hz": 1_500_000_000,
                "min_hz": 600_000_000,
                "max_hz": 1_500_000_000,
                "time_in_state_s": {"600000000": 1.0, "1500000000": 123.45},
            }
        ],
        "temperatures": [
            {"sensor": "thermal_zone0", "type": "cpu-thermal", "celsius": 48.312},
            {"sensor": "temp1", "type": "cpu_thermal", "celsius": -1.5},
        ],
        "boot_id": "8ea67384-35b2-44d6-b384-07c48280904e",
        "throttling": {"cpu_events": 3},
        "power_supplies": [{"supply": "battery", "status": "Discharging", "current_now": "-431000"}],
    }


def test_raspberry_pis_firmware_and_android_say_whether_they_throttle(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"vcgencmd": "case $1 in get_throttled) echo throttled=0x50005 ;; *) echo 'frequency(48)=1500345728' ;; esac"}
    for name, script in (said | {"dumpsys": "echo; echo '\tThermal Status: 2'"}).items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    expected = {"firmware_bits": 0x50005, "firmware_clock_hz": 1_500_345_728, "android_thermal_status": 2}
    assert state(session, tree(tmp_path, {}))["throttling"] == expected


def test_a_policy_and_a_sensor_that_refuse_are_told(session: Session, tmp_path: Path) -> None:
    files = {
        "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "<unknown>\n",
        "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "performance\n",
        "sys/class/thermal/thermal_zone0/type": "broken\n",
        "sys/class/thermal/thermal_zone0/temp": "\n",
        "sys/class/thermal/thermal_zone1/type": "good\n",
        "sys/class/thermal/thermal_zone1/temp": "30000\n",
    }
    now = state(session, tree(tmp_path, files))
    (policy,) = now["cpufreq"]
    assert policy["governor"] == "performance"
    assert all(absent(policy[name]) for name in ("driver", "current_hz", "min_hz", "max_hz", "time_in_state_s"))
    assert [zone["type"] for zone in now["temperatures"]] == ["good"]


def test_what_is_not_there_is_null_with_a_reason(session: Session, tmp_path: Path) -> None:
    now = state(session, tree(tmp_path, {}))
    assert {name for name, value in now.items() if absent(value)} == set(now)


def test_this_machine_has_memory_left_and_its_clock_goes_on(session: Session) -> None:
    now = state(session)
    assert now["memory_available_bytes"] > 0
    assert state(session)["uptime_s"] >= now["uptime_s"] > 0
    json.dumps(now, allow_nan=False)
