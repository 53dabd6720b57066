"""What a Linux device is (`machine_facts`) and how it is just now (`state`), read through its Session alone: /proc and /sys by find, grep, cat.

A fact that cannot be had is `{"value": None, "reason": ...}`, never 0 and never left out. `root` is where /proc and /sys are looked for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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

_CPU = "sys/devices/system/cpu/"
_POLICY = re.compile(r"policy\d+")
_CORE = re.compile(r"cpu\d+")
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
    cpus = [path for path in _children(session, root + _CPU) if _CORE.fullmatch(_base(path))]
    policies = _policies(session, root)
    lines = _read(
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
    return {
        "cpu_model": _or_reason(
            (info.get("model name") or info.get("Model") or info.get("Hardware") or [""])[0], "not in /proc/cpuinfo"
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
        "board": _or_reason(_board(session, root), "no device tree"),
        "virtualization": _virtualization(flags, lines, root),
        "kernel": _or_reason(_first(lines, root + "proc/sys/kernel/osrelease"), "no /proc/sys/kernel/osrelease"),
        "os": _or_reason((release.get("PRETTY_NAME") or [""])[0].strip('"'), "no /etc/os-release"),
        "boot_id": _or_reason(_first(lines, root + "proc/sys/kernel/random/boot_id"), "no /proc/sys/kernel/random/boot_id"),
    }


def machine_key(facts: Facts) -> str:
    """sha256 over KEY_FIELDS: the same key, the same history of numbers."""
    listed = {name: facts[name] for name in KEY_FIELDS}
    return hashlib.sha256(json.dumps(listed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def state(session: Session, root: str = "/") -> Facts:
    """Load, uptime, free memory, frequencies and temperatures of this moment.

    `uptime_s` is the device's own clock (CLOCK_BOOTTIME, steps of 10 ms): monotonic, so two states of one boot can be set apart by it.
    """
    policies = _policies(session, root)
    zones = [p for p in _children(session, root + "sys/class/thermal/") if _base(p).startswith("thermal_zone")]
    monitors = list(_children(session, root + "sys/class/hwmon/"))
    sensors = [p for monitor in monitors for p in _children(session, monitor + "/") if re.fullmatch(r"temp\d+_input", _base(p))]
    proc = {name: root + "proc/" + name for name in ("loadavg", "uptime", "meminfo")}
    names = (
        "scaling_driver",
        "scaling_governor",
        "scaling_cur_freq",
        "scaling_min_freq",
        "scaling_max_freq",
        "stats/time_in_state",
    )
    lines = _read(
        session,
        [
            *proc.values(),
            *(f"{policy}/{name}" for policy in policies for name in names),
            *(f"{zone}/{name}" for zone in zones for name in ("type", "temp")),
            *(f"{monitor}/name" for monitor in monitors),
            *sensors,
        ],
    )
    load = (_first(lines, proc["loadavg"]) or "").split()[:3]
    uptime = (_first(lines, proc["uptime"]) or "").split()[:1]
    temperatures = [*_zone_temperatures(lines, zones), *_sensor_temperatures(lines, sensors)]
    return {
        "load_average": _or_reason([float(value) for value in load], "no /proc/loadavg"),
        "uptime_s": _or_reason(float(uptime[0]) if uptime else None, "no /proc/uptime"),
        "memory_available_bytes": _or_reason(_kib(lines.get(proc["meminfo"], []), "MemAvailable"), "not in /proc/meminfo"),
        "cpufreq": _or_reason([_policy(lines, policy) for policy in policies], "no cpufreq: the kernel does not show the clock"),
        "temperatures": _or_reason(temperatures, "no readable temperature in /sys/class/thermal or /sys/class/hwmon"),
    }


def _policy(lines: Mapping[str, list[str]], folder: str) -> Facts:
    def hertz(name: str) -> Any:
        khz = _whole(_first(lines, f"{folder}/{name}"))
        return _or_reason(None if khz is None else 1000 * khz, f"{name} cannot be read")

    residency = [line.split() for line in lines.get(f"{folder}/stats/time_in_state", [])]
    return {
        "policy": _base(folder),
        "driver": _or_reason(_first(lines, f"{folder}/scaling_driver"), "scaling_driver cannot be read"),
        "governor": _or_reason(_first(lines, f"{folder}/scaling_governor"), "scaling_governor cannot be read"),
        "current_hz": hertz("scaling_cur_freq"),
        "min_hz": hertz("scaling_min_freq"),
        "max_hz": hertz("scaling_max_freq"),
        "time_in_state_s": _or_reason(
            {str(1000 * int(khz)): int(ticks) / 100 for khz, ticks in residency}, "stats/time_in_state cannot be read"
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


def _virtualization(flags: list[str], lines: Mapping[str, list[str]], root: str) -> str:
    """The hypervisor's name where one shows itself; empty where nothing hints at one."""
    named = _first(lines, root + "sys/hypervisor/type") or _first(lines, root + "sys/class/dmi/id/sys_vendor") or ""
    if any(name in named.lower() for name in _HYPERVISORS):
        return named
    return "a hypervisor" if "hypervisor" in flags else ""


def _arm_parts(info: Mapping[str, list[str]]) -> list[str]:
    """`implementer/part` of each kind of core (Arm names cores by number); empty on other machines."""
    return sorted({f"{i}/{p}" for i, p in zip(info.get("CPU implementer", []), info.get("CPU part", []), strict=False)})


def _board(session: Session, root: str) -> str | None:
    return _command(session, ["cat", root + "proc/device-tree/model"])


def _policies(session: Session, root: str) -> list[str]:
    return [path for path in _children(session, root + _CPU + "cpufreq/") if _POLICY.fullmatch(_base(path))]


def _children(session: Session, folder: str) -> list[str]:
    """Paths of a folder's entries in natural order (policy2 before policy10); none for a folder that is not there."""
    result = session.run(["find", folder, "-mindepth", "1", "-maxdepth", "1"], timeout_s=TIMEOUT_S, max_output_bytes=MAX_BYTES)
    return sorted(
        _text(result.stdout).splitlines(), key=lambda path: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", path)]
    )


def _read(session: Session, paths: list[str]) -> dict[str, list[str]]:
    """The lines of many small text files in one command; a file that cannot be read is left out."""
    result = session.run(["grep", "-H", "-s", "", *paths], timeout_s=TIMEOUT_S, max_output_bytes=MAX_BYTES)
    found: dict[str, list[str]] = {}
    wanted = set(paths)
    for line in _text(result.stdout).splitlines():
        path, colon, content = line.partition(":")
        while colon and path not in wanted:  # a path may hold colons itself
            more, colon, content = content.partition(":")
            path = f"{path}:{more}"
        if path in wanted:
            found.setdefault(path, []).append(content)
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
    return int(text) if text is not None and re.fullmatch(r"-?\d+", text) else None


def _or_reason(value: Any, reason: str) -> Any:
    """The value, or where there is none (None, nothing in it, 0 of what is counted) the mapping that says why."""
    return value if value else {"value": None, "reason": reason}


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace")
