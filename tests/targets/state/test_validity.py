"""What makes the times of a measurement void: a device's state before against after, from a /sys on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from targets.now import state
from targets.session import Session
from targets.state import Control, void_reason
from targets.state.settings import Setting
from targets.target import Target

Tree = Any
PINNED = Control("pinned", None, (), (("policy0", 1_500_000_000),))
FREE = Control("uncontrolled", "x")


@pytest.fixture
def reading(local_session: Session, local_device: Target) -> Callable[[], Any]:
    return lambda: state(local_session, sysfs=local_device.sysfs)


def test_nothing_happened(reading: Callable[[], Any], sys_tree: Tree) -> None:
    before = reading()
    sys_tree.put("stats/time_in_state", "600000 1000\n1000000 50\n1500000 1400")
    sys_tree.put("scaling_cur_freq", "1500000")
    assert void_reason(before, reading(), PINNED, 70) is None
    assert void_reason({}, {}, PINNED, 70) is None  # a device that shows nothing


def test_a_reboot(reading: Callable[[], Any]) -> None:
    before, after = reading(), {**reading(), "boot_id": "another"}
    assert "restarted" in str(void_reason(before, after, FREE))
    assert void_reason(before, {**after, "boot_id": {"value": None, "reason": "x"}}, FREE) is None


@pytest.mark.parametrize(("slow_ticks", "is_void"), [(0, False), (9, False), (11, True), (400, True)])
def test_a_pinned_clock_that_was_lower_for_a_while(
    reading: Callable[[], Any], sys_tree: Tree, slow_ticks: int, is_void: bool
) -> None:
    """The clock is back where it was: only the counters know."""
    before = reading()
    sys_tree.put("stats/time_in_state", f"600000 1000\n1000000 {50 + slow_ticks}\n1500000 {400 + 1000 - slow_ticks}")
    reason = void_reason(before, reading(), PINNED)
    assert (reason is not None) == is_void
    if slow_ticks == 400:
        assert reason == "throttled: policy0 was below the 1500 MHz it was pinned to for 4.00 of 10.00 s, down to 1000 MHz"
    assert void_reason(before, reading(), FREE) is None


def test_a_pinned_clock_that_is_lower_now(reading: Callable[[], Any], sys_tree: Tree) -> None:
    sys_tree.path("stats/time_in_state").unlink()
    before = reading()
    sys_tree.put("scaling_cur_freq", "1200000")
    assert void_reason(before, reading(), PINNED) == "throttled: policy0 runs at 1200 MHz, pinned were 1500"
    requested = Control("requested", "x", (), PINNED.held_hz)
    assert void_reason(before, reading(), requested) is None


def test_counters_that_were_reset_say_nothing(reading: Callable[[], Any], sys_tree: Tree) -> None:
    before = reading()
    sys_tree.put("stats/time_in_state", "600000 1\n1000000 0\n1500000 2")
    assert void_reason(before, reading(), PINNED) is None


@pytest.mark.parametrize(
    ("earlier", "bits", "told"),
    [
        (0, 0, None),
        (0x50000, 0x50000, None),
        (0, 0x50005, "throttled: the firmware reports the device under-voltage and throttled"),
        (0x10000, 0x90000, "throttled: the firmware reports the device at its soft temperature limit"),
        (0x20002, 0x20002, "throttled: the firmware reports the device its clock capped"),
    ],
)
def test_what_raspberry_pis_firmware_reports(
    reading: Callable[[], Any], programs: Callable[[str, str], None], earlier: int, bits: int, told: str | None
) -> None:
    programs("vcgencmd", f"echo throttled=0x{earlier:x}")
    before = reading()
    programs("vcgencmd", f"echo throttled=0x{bits:x}")
    assert void_reason(before, reading(), FREE) == told


def test_a_firmware_that_ignores_the_pin(reading: Callable[[], Any], programs: Callable[[str, str], None]) -> None:
    programs("vcgencmd", "echo 'frequency(48)=600117184'")
    assert void_reason(reading(), reading(), PINNED) == "throttled: the firmware runs the cores at 600 MHz, pinned were 1500"
    assert void_reason(reading(), reading(), FREE) is None


def test_thermal_events_and_android(reading: Callable[[], Any], sys_tree: Tree, programs: Callable[[str, str], None]) -> None:
    sys_tree.place("devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "7")
    before = reading()
    sys_tree.place("devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "9")
    assert void_reason(before, reading(), FREE) == "throttled: the CPU counted 2 thermal events"
    programs("dumpsys", "echo Thermal Status: 1")
    assert void_reason(reading(), reading(), FREE) == "throttled: Android's thermal status is 1, not 0"


def test_too_hot(reading: Callable[[], Any], sys_tree: Tree) -> None:
    before = reading()
    sys_tree.place("class/thermal/thermal_zone0/temp", "81200")
    assert void_reason(before, reading(), FREE, 70) == "cpu-thermal is at 81 °C, the inventory allows 70"
    assert void_reason(before, reading(), FREE) is None


@pytest.mark.parametrize(
    ("name", "after", "found"),
    [
        ("scaling_governor", "performance", "ondemand"),
        ("scaling_min_freq", "1500000", "600000000"),
        ("scaling_max_freq", "1000000", "1500000000"),
    ],
)
def test_settings_that_another_changed(reading: Callable[[], Any], name: str, after: str, found: str) -> None:
    setting = Setting(f"devices/system/cpu/cpufreq/policy0/{name}", "x", after, after)
    now = reading()
    reason = void_reason(now, now, Control("pinned", None, (setting,)))
    assert reason is not None and f"{name} meanwhile, from " in reason and found in reason
    kept = {"scaling_governor": "ondemand", "scaling_min_freq": "600000", "scaling_max_freq": "1500000"}[name]
    assert void_reason(now, now, Control("pinned", None, (Setting(setting.name, "x", kept, kept),))) is None
