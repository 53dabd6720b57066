"""What a Linux device is (`machine_facts`) and how it is just now (`state`), read through its Session alone: /proc and /sys by find, grep, cat.

A fact that cannot be had is `{"value": None, "reason": ...}`, never 0 and never left out. `root` is where /proc and /sys are looked for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from targets.session import Session

Facts = Mapping[str, Any]

TIMEOUT_S = 30.0
MAX_BYTES = 4 << 20
KEY_FIELDS = (
    "cpu_model",
    "cpu_parts",
    "isa",
    "isa_flags",
    "cpus",
    "cores",
    "sockets",
    "cpu_max_hz",
    "ram_mib",
    "board",
    "virtualization",
    "kernel",
    "os",
)
"""The facts that make the machine key: hardware, kernel and system, nothing that a reboot or a busy hour changes."""
ITSELF = "assay-machine"
"""A program that an emulated device alone has: it tells `isa`, `cpu` and `emulator`, where /proc and /sys tell of the machine that emulates it."""

_CPU = "/devices/system/cpu/"
_SENSORS = ("/class/thermal/", "/class/hwmon/")
NO_CLOCK = "no cpufreq: the kernel does not show the clock"
NO_TEMPERATURE = "no readable temperature in /sys/class/thermal or /sys/class/hwmon"
_POLICY = re.compile(r"policy\d+")
_CORE = re.compile(r"cpu\d+")
_ANDROID = {
    "manufacturer": "ro.product.manufacturer",
    "model": "ro.product.model",
    "platform": "ro.board.platform",
    "abi": "ro.product.cpu.abi",
    "release": "ro.build.version.release",
    "build": "ro.build.version.incremental",
}
"""Our name -> Android's property."""
_THROTTLE_COUNTS = ("core_throttle_count", "package_throttle_count")
_SUPPLY = ("type", "online", "present", "status", "capacity", "temp", "current_now", "voltage_now")
_EMULATED = {"value": None, "reason": "emulated"}
_HYPERVISORS = (
    "kvm",
    "qemu",
    "vmware",
    "virtualbox",
    "xen",
    "hyper-v",
    "firecracker",
    "microsoft",
    "amazon ec2",
    "google compute",
)


def machine_facts(session: Session, root: str = "/") -> Facts:
    """CPU, cores, ISA, memory, kernel, system, boot id, virtualization, board. Sizes in bytes (`ram_mib`: to the nearest 256), frequencies in Hz."""
    cpus = [path for path in children(session, root + "sys" + _CPU) if _CORE.fullmatch(_base(path))]
    policies = policy_folders(session, root + "sys")
    lines = lines_of(
        session,
        [
            *(root + name for name in ("proc/cpuinfo", "proc/meminfo", "etc/os-release", "proc/sys/kernel/osrelease")),
            *(root + name for name in ("proc/sys/kernel/random/boot_id", "sys/class/dmi/id/sys_vendor", "sys/hypervisor/type")),
            *(f"{cpu}/topology/{name}" for cpu in cpus for name in ("core_id", "physical_package_id")),
            *(f"{policy}/cpuinfo_max_freq" for policy in policies),
        ],
    )
    info = _fields(lines.get(root + "proc/cpuinfo", []))
    release = _fields(lines.get(root + "etc/os-release", []), "=")
    places = [(_first(lines, f"{cpu}/topology/physical_package_id"), _first(lines, f"{cpu}/topology/core_id")) for cpu in cpus]
    flags = (info.get("flags") or info.get("Features") or [""])[0].split()
    memory = _kib(lines.get(root + "proc/meminfo", []), "MemTotal")
    android = _android(session)
    board = _board(session, root) or " ".join(android[name] for name in ("manufacturer", "model") if name in android) or None
    facts = {
        "cpu_model": _or_reason(
            (info.get("model name") or info.get("Model") or info.get("Hardware") or [android.get("platform", "")])[0],
            "not in /proc/cpuinfo",
        ),
        "cpu_parts": _arm_parts(info),
        "isa": _or_reason(_command(session, ["uname", "-m"]), "uname -m says nothing"),
        "isa_flags": _or_reason(sorted(set(flags)), "not in /proc/cpuinfo"),
        "cpus": _or_reason(len(cpus), "no cpu* in /sys/devices/system/cpu"),
        "cores": _or_reason(_distinct(places), "no topology in /sys/devices/system/cpu"),
        "sockets": _or_reason(_distinct([(package,) for package, _ in places]), "no topology in /sys/devices/system/cpu"),
        "cpu_max_hz": _or_reason(
            [1000 * f for p in policies if (f := _whole(_first(lines, f"{p}/cpuinfo_max_freq"))) is not None], "no cpufreq"
        ),
        "ram_bytes": _or_reason(memory, "not in /proc/meminfo"),
        "ram_mib": _or_reason(None if memory is None else 256 * max(1, round(memory / 2**28)), "not in /proc/meminfo"),
        "board": _or_reason(board, "no device tree"),
        "virtualization": _virtualization(flags, lines, root, board),
        "kernel": _or_reason(_first(lines, root + "proc/sys/kernel/osrelease"), "no /proc/sys/kernel/osrelease"),
        "os": _or_reason(_system(release, android), "no /etc/os-release"),
        "boot_id": _or_reason(_first(lines, root + "proc/sys/kernel/random/boot_id"), "no /proc/sys/kernel/random/boot_id"),
    }
    if android:
        facts["android"] = android
    told = _told_itself(session)
    return {**facts, **_emulated(told, facts)} if told else facts


def machine_key(facts: Facts) -> str:
    """sha256 over KEY_FIELDS: the same key, the same history of numbers."""
    listed = {name: facts[name] for name in KEY_FIELDS}
    return hashlib.sha256(json.dumps(listed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def state(session: Session, root: str = "/", sysfs: str | None = None) -> Facts:
    """Boot, load, uptime, free memory, frequencies, temperatures, throttling and power supplies of this moment.

    `uptime_s` is the device's own clock (CLOCK_BOOTTIME, steps of 10 ms): monotonic, so two states of one boot can be set apart by it.
    `sysfs`: where /sys is, if not below `root`.
    """
    sysfs = root + "sys" if sysfs is None else sysfs
    folders = (f"{_CPU}cpufreq/", _CPU, "/class/power_supply/", *_SENSORS)
    found, cpus, supplies, *places = _entries(session, [sysfs + folder for folder in folders])
    policies = [path for path in found if _POLICY.fullmatch(_base(path))]
    cores = [path for path in cpus if _CORE.fullmatch(_base(path))]
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
    load = (_first(lines, proc["loadavg"]) or "").split()[:3]
    uptime = (_first(lines, proc["uptime"]) or "").split()[:1]
    now = {
        "load_average": _or_reason([real for value in load if (real := _real(value)) is not None], "no /proc/loadavg"),
        "uptime_s": _or_reason(_real(uptime[0]) if uptime else None, "no /proc/uptime"),
        "memory_available_bytes": _or_reason(_kib(lines.get(proc["meminfo"], []), "MemAvailable"), "not in /proc/meminfo"),
        "cpufreq": _or_reason([_policy(lines, policy) for policy in policies], NO_CLOCK),
        "temperatures": _or_reason(sensors.read(lines), NO_TEMPERATURE),
        "boot_id": _or_reason(_first(lines, proc["sys/kernel/random/boot_id"]), "no /proc/sys/kernel/random/boot_id"),
        "throttling": _or_reason(
            _throttling(session, lines, cores),
            "no vcgencmd, no Android, no counters in /sys/devices/system/cpu/cpu*/thermal_throttle",
        ),
        "power_supplies": _or_reason([_supply(lines, supply) for supply in supplies], "nothing in /sys/class/power_supply"),
    }
    hidden = dict.fromkeys(("cpufreq", "temperatures", "power_supplies", "throttling"), _EMULATED)
    return {**now, **hidden} if _told_itself(session) else now


def _told_itself(session: Session) -> dict[str, str]:
    """What an emulated device says of itself; empty for a real one."""
    return {name: values[0] for name, values in _fields((_command(session, [ITSELF]) or "").splitlines()).items()}


def _emulated(told: Mapping[str, str], host: Facts) -> Facts:
    """The emulated CPU in place of the one that emulates it; kernel, system and memory are the host's and in use."""
    return {
        "cpu_model": _or_reason(told.get("cpu"), "the device does not tell"),
        "cpu_parts": [],
        "isa": _or_reason(told.get("isa"), "the device does not tell"),
        "virtualization": told.get("emulator", "an emulator"),
        "emulation_host": host["cpu_model"],
        **dict.fromkeys(("isa_flags", "cpus", "cores", "sockets", "cpu_max_hz", "board"), _EMULATED),
    }


def temperatures(session: Session, sysfs: str) -> list[Facts]:
    """Every sensor that can be read just now, with its type, in degrees Celsius."""
    sensors = sensors_of(session, sysfs)
    files = sensors.files()
    return sensors.read(lines_of(session, files) if files else {})


def sensors_of(session: Session, sysfs: str) -> Sensors:
    """Those of a device, whether they can be read or not."""
    return Sensors.of(session, *_entries(session, [sysfs + folder for folder in _SENSORS]))


class Sensors(NamedTuple):
    """Folders of thermal zones and of monitors, and the monitors' files of a temperature."""

    zones: list[str]
    monitors: list[str]
    inputs: list[str]

    @staticmethod
    def of(session: Session, thermal: list[str], monitors: list[str]) -> Sensors:
        inside = _entries(session, [f"{monitor}/" for monitor in monitors]) if monitors else []
        inputs = [path for paths in inside for path in paths if re.fullmatch(r"temp\d+_input", _base(path))]
        return Sensors([path for path in thermal if _base(path).startswith("thermal_zone")], monitors, inputs)

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
    said = _command(session, ["sh", "-c", f"{{ {script}; }} 2>/dev/null; :"]) or ""
    events = [n for core in cores for name in _THROTTLE_COUNTS if (n := _whole(_first(lines, f"{core}/thermal_throttle/{name}")))]
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
    values = {name: value for name in _SUPPLY if (value := _first(lines, f"{folder}/{name}")) is not None}
    return {"supply": _base(folder), **values}


def _policy(lines: Mapping[str, list[str]], folder: str) -> Facts:
    def hertz(name: str) -> Any:
        khz = _whole(_first(lines, f"{folder}/{name}"))
        return _or_reason(None if khz is None else 1000 * khz, f"{name} cannot be read")

    residency = [re.fullmatch(r"([0-9]{1,12}) ([0-9]{1,18})", line) for line in lines.get(f"{folder}/stats/time_in_state", [])]
    return {
        "policy": _base(folder),
        "driver": _or_reason(_first(lines, f"{folder}/scaling_driver"), "scaling_driver cannot be read"),
        "governor": _or_reason(_first(lines, f"{folder}/scaling_governor"), "scaling_governor cannot be read"),
        "current_hz": hertz("scaling_cur_freq"),
        "min_hz": hertz("scaling_min_freq"),
        "max_hz": hertz("scaling_max_freq"),
        "time_in_state_s": _or_reason(
            {str(1000 * int(line[1])): int(line[2]) / 100 for line in residency if line}, "stats/time_in_state cannot be read"
        ),
    }


def _zone_temperatures(lines: Mapping[str, list[str]], zones: list[str]) -> Iterator[Facts]:
    for zone in zones:
        milli = _whole(_first(lines, f"{zone}/temp"))
        if milli is not None:
            yield {"sensor": _base(zone), "type": _first(lines, f"{zone}/type") or "", "celsius": milli / 1000}


def _sensor_temperatures(lines: Mapping[str, list[str]], sensors: list[str]) -> Iterator[Facts]:
    for sensor in sensors:
        milli = _whole(_first(lines, sensor))
        folder = sensor.rpartition("/")[0]
        if milli is not None:
            # By the chip's name: the numbers of hwmon folders change from boot to boot.
            name = _first(lines, f"{folder}/name") or _base(folder)
            yield {"sensor": _base(sensor).removesuffix("_input"), "type": name, "celsius": milli / 1000}


def _virtualization(flags: list[str], lines: Mapping[str, list[str]], root: str, board: str | None) -> str:
    """The hypervisor's name where one shows itself; empty where nothing hints at one."""
    named = _first(lines, root + "sys/hypervisor/type") or _first(lines, root + "sys/class/dmi/id/sys_vendor") or ""
    if any(name in named.lower() for name in _HYPERVISORS):
        return named
    if board == "linux,dummy-virt":  # what QEMU's machine `virt` calls itself
        return "QEMU"
    return "a hypervisor" if "hypervisor" in flags else ""


def _android(session: Session) -> dict[str, str]:
    """What Android says of the device, without what names one of its kind (serial numbers); empty for another system."""
    properties = dict(re.findall(r"^\[([\w.]+)\]: \[(.*)\]$", _command(session, ["getprop"]) or "", re.MULTILINE))
    return {name: value for name, key in _ANDROID.items() if (value := properties.get(key))}


def _system(release: Mapping[str, list[str]], android: Mapping[str, str]) -> str:
    if {"release", "build"} <= android.keys():
        return f"Android {android['release']} ({android['build']})"
    return (release.get("PRETTY_NAME") or [""])[0].strip('"')


def _arm_parts(info: Mapping[str, list[str]]) -> list[str]:
    """`implementer/part` of each kind of core (Arm names cores by number); empty on other machines."""
    return sorted({f"{i}/{p}" for i, p in zip(info.get("CPU implementer", []), info.get("CPU part", []), strict=False)})


def _board(session: Session, root: str) -> str | None:
    return _command(session, ["cat", root + "proc/device-tree/model"])


def policy_folders(session: Session, sysfs: str) -> list[str]:
    """Of the groups of CPUs that share a clock."""
    return [path for path in children(session, sysfs + _CPU + "cpufreq/") if _POLICY.fullmatch(_base(path))]


def children(session: Session, folder: str) -> list[str]:
    """Paths of a folder's entries in natural order (policy2 before policy10); none for a folder that is not there."""
    return _entries(session, [folder])[0]


def _entries(session: Session, folders: Sequence[str]) -> list[list[str]]:
    """`children` of each of these folders, by one command: to ask a device is what takes the time."""
    result = session.run(["find", *folders, "-mindepth", "1", "-maxdepth", "1"], timeout_s=TIMEOUT_S, max_output_bytes=MAX_BYTES)
    inside: dict[str, list[str]] = {folder.rstrip("/"): [] for folder in folders}
    for path in sorted(
        _text(result.stdout).splitlines(), key=lambda path: re.sub(r"\d+", lambda digits: digits[0].zfill(20), path)
    ):
        inside.get(path.rpartition("/")[0].rstrip("/"), []).append(path)
    return [inside[folder.rstrip("/")] for folder in folders]


def lines_of(session: Session, paths: list[str]) -> dict[str, list[str]]:
    """The lines of many small text files in one command; a file that cannot be read is left out."""
    result = session.run(["grep", "-H", "-s", "", *paths], timeout_s=TIMEOUT_S, max_output_bytes=MAX_BYTES)
    found: dict[str, list[str]] = {}
    wanted = sorted(set(paths), key=len)
    for line in _text(result.stdout).splitlines():
        path = next((path for path in wanted if line.startswith(f"{path}:")), None)  # a path may hold colons itself
        if path is not None:
            found.setdefault(path, []).append(line[len(path) + 1 :])
    return found


def _command(session: Session, argv: list[str]) -> str | None:
    result = session.run(argv, timeout_s=TIMEOUT_S, max_output_bytes=MAX_BYTES)
    return _text(result.stdout).strip("\0\n ") or None if result.exit_status == 0 else None


def _fields(lines: list[str], separator: str = ":") -> dict[str, list[str]]:
    """`key : value` lines: every value of each key, in order."""
    found: dict[str, list[str]] = {}
    for line in lines:
        key, mark, value = line.partition(separator)
        if mark:
            found.setdefault(key.strip(), []).append(value.strip())
    return found


def _kib(lines: list[str], key: str) -> int | None:
    """Bytes of a `/proc/meminfo` line, which counts in units of 1024."""
    value = _whole((_fields(lines).get(key) or [""])[0].removesuffix(" kB"))
    return None if value is None else 1024 * value


def _distinct(places: Sequence[tuple[str | None, ...]]) -> int | None:
    return None if not places or any(None in place for place in places) else len(set(places))


def _first(lines: Mapping[str, list[str]], path: str) -> str | None:
    return lines[path][0].strip() if lines.get(path) else None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,18}", text) else None


def _real(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", text) else None


def _or_reason(value: Any, reason: str) -> Any:
    """The value, or where there is none (None, nothing in it, 0 of what is counted) the mapping that says why."""
    return value if value else {"value": None, "reason": reason}


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace")
