"""How a Linux device is just now, read through its Session alone: load, clocks, temperatures, throttling, power supplies.

What cannot be had is `{"value": None, "reason": ...}`, never 0 and never left out. `root` is where /proc and /sys are looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from targets.device_files import base, command, entries, first, kib, lines_of, or_reason, real, whole
from targets.facts import CORE, CPU_FOLDER, EMULATED, POLICY, Facts, told_itself
from targets.session import Session

_SENSORS = ("/class/thermal/", "/class/hwmon/")
NO_CLOCK = "no cpufreq: the kernel does not show the clock"
NO_TEMPERATURE = "no readable temperature in /sys/class/thermal or /sys/class/hwmon"
_THROTTLE_COUNTS = ("core_throttle_count", "package_throttle_count")
_SUPPLY = ("type", "online", "present", "status", "capacity", "temp", "current_now", "voltage_now")


def state(session: Session, root: str = "/", sysfs: str | None = None) -> Facts:
    """Boot, load, uptime, free memory, frequencies, temperatures, throttling and power supplies of this moment.

    `uptime_s` is the device's own clock (CLOCK_BOOTTIME, steps of 10 ms): monotonic, so two states of one boot can be set apart by it.
    `sysfs`: where /sys is, if not below `root`.
    """
    sysfs = root + "sys" if sysfs is None else sysfs
    folders = (f"{CPU_FOLDER}cpufreq/", CPU_FOLDER, "/class/power_supply/", *_SENSORS)
    found, cpus, supplies, *places = entries(session, [sysfs + folder for folder in folders])
    policies = [path for path in found if POLICY.fullmatch(base(path))]
    cores = [path for path in cpus if CORE.fullmatch(base(path))]
    sensors = Sensors.of(session, *places)
    proc = {name: root + "proc/" + name for name in ("loadavg", "uptime", "meminfo", "sys/kernel/random/boot_id")}
    names = (
        "scaling_driver",
        "scaling_governor",
        "scaling_cur_freq",
        "scaling_min_freq",
        "scaling_max_freq",
        "stats/time_in_state",
    )
    lines = lines_of(
        session,
        [
            *proc.values(),
            *(f"{policy}/{name}" for policy in policies for name in names),
            *(f"{core}/thermal_throttle/{name}" for core in cores for name in _THROTTLE_COUNTS),
            *(f"{supply}/{name}" for supply in supplies for name in _SUPPLY),
            *sensors.files(),
        ],
    )
    load = (first(lines, proc["loadavg"]) or "").split()[:3]
    uptime = (first(lines, proc["uptime"]) or "").split()[:1]
    now = {
        "load_average": or_reason([number for value in load if (number := real(value)) is not None], "no /proc/loadavg"),
        "uptime_s": or_reason(real(uptime[0]) if uptime else None, "no /proc/uptime"),
        "memory_available_bytes": or_reason(kib(lines.get(proc["meminfo"], []), "MemAvailable"), "not in /proc/meminfo"),
        "cpufreq": or_reason([_policy(lines, policy) for policy in policies], NO_CLOCK),
        "temperatures": or_reason(sensors.read(lines), NO_TEMPERATURE),
        "boot_id": or_reason(first(lines, proc["sys/kernel/random/boot_id"]), "no /proc/sys/kernel/random/boot_id"),
        "throttling": or_reason(
            _throttling(session, lines, cores),
            "no vcgencmd, no Android, no counters in /sys/devices/system/cpu/cpu*/thermal_throttle",
        ),
        "power_supplies": or_reason([_supply(lines, supply) for supply in supplies], "nothing in /sys/class/power_supply"),
    }
    hidden = dict.fromkeys(("cpufreq", "temperatures", "power_supplies", "throttling"), EMULATED)
    return {**now, **hidden} if told_itself(session) else now


def temperatures(session: Session, sysfs: str) -> list[Facts]:
    """Every sensor that can be read just now, with its type, in degrees Celsius."""
    sensors = sensors_of(session, sysfs)
    files = sensors.files()
    return sensors.read(lines_of(session, files) if files else {})


def sensors_of(session: Session, sysfs: str) -> Sensors:
    """Those of a device, whether they can be read or not."""
    return Sensors.of(session, *entries(session, [sysfs + folder for folder in _SENSORS]))


class Sensors(NamedTuple):
    """Folders of thermal zones and of monitors, and the monitors' files of a temperature."""

    zones: list[str]
    monitors: list[str]
    inputs: list[str]

    @staticmethod
    def of(session: Session, thermal: list[str], monitors: list[str]) -> Sensors:
        inside = entries(session, [f"{monitor}/" for monitor in monitors]) if monitors else []
        inputs = [path for paths in inside for path in paths if re.fullmatch(r"temp\d+_input", base(path))]
        return Sensors([path for path in thermal if base(path).startswith("thermal_zone")], monitors, inputs)

    def files(self) -> list[str]:
        return [
            *(f"{z}/{name}" for z in self.zones for name in ("type", "temp")),
            *(f"{m}/name" for m in self.monitors),
            *self.inputs,
        ]

    def read(self, lines: Mapping[str, list[str]]) -> list[Facts]:
        return [*_zone_temperatures(lines, self.zones), *_sensor_temperatures(lines, self.inputs)]


def _throttling(session: Session, lines: Mapping[str, list[str]], cores: list[str]) -> Facts:
    """What tells of a clock that was lowered: Raspberry Pi's firmware, Android's thermal service, x86's counters.

    `firmware_bits`: 0 under-voltage, 1 clock capped, 2 throttled, 3 soft temperature limit; 16-19 the same since boot.
    """
    script = "vcgencmd get_throttled; vcgencmd measure_clock arm; dumpsys thermalservice | grep -m 1 'Thermal Status'"
    said = command(session, ["sh", "-c", f"{{ {script}; }} 2>/dev/null; :"]) or ""
    events = [n for core in cores for name in _THROTTLE_COUNTS if (n := whole(first(lines, f"{core}/thermal_throttle/{name}")))]
    bits = re.search(r"throttled=0x([0-9a-fA-F]{1,8})\b", said)
    arm = re.search(r"frequency\(\d+\)=(\d{1,12})\b", said)
    status = re.search(r"Thermal Status: (\d)\b", said)
    has_counters = any(f"{core}/thermal_throttle/{name}" in lines for core in cores for name in _THROTTLE_COUNTS)
    return {
        **({"firmware_bits": int(bits[1], 16)} if bits else {}),
        **({"firmware_clock_hz": int(arm[1])} if arm else {}),
        **({"android_thermal_status": int(status[1])} if status else {}),
        **({"cpu_events": sum(events)} if has_counters else {}),
    }


def _supply(lines: Mapping[str, list[str]], folder: str) -> Facts:
    """As the driver reports it: makers differ in the units and signs of currents. Empty where it says nothing."""
    values = {name: value for name in _SUPPLY if (value := first(lines, f"{folder}/{name}")) is not None}
    return {"supply": base(folder), **values}


def _policy(lines: Mapping[str, list[str]], folder: str) -> Facts:
    def hertz(name: str) -> Any:
        khz = whole(first(lines, f"{folder}/{name}"))
        return or_reason(None if khz is None else 1000 * khz, f"{name} cannot be read")

    residency = [re.fullmatch(r"([0-9]{1,12}) ([0-9]{1,18})", line) for line in lines.get(f"{folder}/stats/time_in_state", [])]
    return {
        "policy": base(folder),
        "driver": or_reason(first(lines, f"{folder}/scaling_driver"), "scaling_driver cannot be read"),
        "governor": or_reason(first(lines, f"{folder}/scaling_governor"), "scaling_governor cannot be read"),
        "current_hz": hertz("scaling_cur_freq"),
        "min_hz": hertz("scaling_min_freq"),
        "max_hz": hertz("scaling_max_freq"),
        "time_in_state_s": or_reason(
            {str(1000 * int(line[1])): int(line[2]) / 100 for line in residency if line}, "stats/time_in_state cannot be read"
        ),
    }


def _zone_temperatures(lines: Mapping[str, list[str]], zones: list[str]) -> Iterator[Facts]:
    for zone in zones:
        milli = whole(first(lines, f"{zone}/temp"))
        if milli is not None:
            yield {"sensor": base(zone), "type": first(lines, f"{zone}/type") or "", "celsius": milli / 1000}


def _sensor_temperatures(lines: Mapping[str, list[str]], sensors: list[str]) -> Iterator[Facts]:
    for sensor in sensors:
        milli = whole(first(lines, sensor))
        folder = sensor.rpartition("/")[0]
        if milli is not None:
            # By the chip's name: the numbers of hwmon folders change from boot to boot.
            name = first(lines, f"{folder}/name") or base(folder)
            yield {"sensor": base(sensor).removesuffix("_input"), "type": name, "celsius": milli / 1000}
