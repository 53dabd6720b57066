"""What a Linux device is, read through its Session alone: /proc and /sys by find, grep, cat.

A fact that cannot be had is `{"value": None, "reason": ...}`, never 0 and never left out. `root` is where /proc and /sys are looked for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from targets.device_files import base, children, command, fields, first, kib, lines_of, or_reason, whole
from targets.session import Session

Facts = Mapping[str, Any]

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
CPU_FOLDER = "/devices/system/cpu/"
"""Below /sys."""
CORE = re.compile(r"cpu\d+")
POLICY = re.compile(r"policy\d+")
"""Its name in that folder, and a shared clock's in cpufreq/."""
ITSELF = "assay-machine"
"""A program that an emulated device alone has: it tells `isa`, `cpu` and `emulator`, where /proc and /sys tell of the machine that emulates it."""
EMULATED = {"value": None, "reason": "emulated"}
"""In place of a fact that is the emulating machine's."""

_ANDROID = {
    "manufacturer": "ro.product.manufacturer",
    "model": "ro.product.model",
    "platform": "ro.board.platform",
    "abi": "ro.product.cpu.abi",
    "release": "ro.build.version.release",
    "build": "ro.build.version.incremental",
}
"""Our name -> Android's property."""
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
    cpus = [path for path in children(session, root + "sys" + CPU_FOLDER) if CORE.fullmatch(base(path))]
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
    info = fields(lines.get(root + "proc/cpuinfo", []))
    release = fields(lines.get(root + "etc/os-release", []), "=")
    places = [(first(lines, f"{cpu}/topology/physical_package_id"), first(lines, f"{cpu}/topology/core_id")) for cpu in cpus]
    flags = (info.get("flags") or info.get("Features") or [""])[0].split()
    memory = kib(lines.get(root + "proc/meminfo", []), "MemTotal")
    android = _android(session)
    board = _board(session, root) or " ".join(android[name] for name in ("manufacturer", "model") if name in android) or None
    facts = {
        "cpu_model": or_reason(
            (info.get("model name") or info.get("Model") or info.get("Hardware") or [android.get("platform", "")])[0],
            "not in /proc/cpuinfo",
        ),
        "cpu_parts": _arm_parts(info),
        "isa": or_reason(command(session, ["uname", "-m"]), "uname -m says nothing"),
        "isa_flags": or_reason(sorted(set(flags)), "not in /proc/cpuinfo"),
        "cpus": or_reason(len(cpus), "no cpu* in /sys/devices/system/cpu"),
        "cores": or_reason(_distinct(places), "no topology in /sys/devices/system/cpu"),
        "sockets": or_reason(_distinct([(package,) for package, _ in places]), "no topology in /sys/devices/system/cpu"),
        "cpu_max_hz": or_reason(
            [1000 * f for p in policies if (f := whole(first(lines, f"{p}/cpuinfo_max_freq"))) is not None], "no cpufreq"
        ),
        "ram_bytes": or_reason(memory, "not in /proc/meminfo"),
        "ram_mib": or_reason(None if memory is None else 256 * max(1, round(memory / 2**28)), "not in /proc/meminfo"),
        "board": or_reason(board, "no device tree"),
        "virtualization": _virtualization(flags, lines, root, board),
        "kernel": or_reason(first(lines, root + "proc/sys/kernel/osrelease"), "no /proc/sys/kernel/osrelease"),
        "os": or_reason(_system(release, android), "no /etc/os-release"),
        "boot_id": or_reason(first(lines, root + "proc/sys/kernel/random/boot_id"), "no /proc/sys/kernel/random/boot_id"),
    }
    if android:
        facts["android"] = android
    told = told_itself(session)
    return {**facts, **_emulated(told, facts)} if told else facts


def machine_key(facts: Facts) -> str:
    """sha256 over KEY_FIELDS: the same key, the same history of numbers."""
    listed = {name: facts[name] for name in KEY_FIELDS}
    return hashlib.sha256(json.dumps(listed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def told_itself(session: Session) -> dict[str, str]:
    """What an emulated device says of itself; empty for a real one."""
    return {name: values[0] for name, values in fields((command(session, [ITSELF]) or "").splitlines()).items()}


def _emulated(told: Mapping[str, str], host: Facts) -> Facts:
    """The emulated CPU in place of the one that emulates it; kernel, system and memory are the host's and in use."""
    return {
        "cpu_model": or_reason(told.get("cpu"), "the device does not tell"),
        "cpu_parts": [],
        "isa": or_reason(told.get("isa"), "the device does not tell"),
        "virtualization": told.get("emulator", "an emulator"),
        "emulation_host": host["cpu_model"],
        **dict.fromkeys(("isa_flags", "cpus", "cores", "sockets", "cpu_max_hz", "board"), EMULATED),
    }


def _virtualization(flags: list[str], lines: Mapping[str, list[str]], root: str, board: str | None) -> str:
    """The hypervisor's name where one shows itself; empty where nothing hints at one."""
    named = first(lines, root + "sys/hypervisor/type") or first(lines, root + "sys/class/dmi/id/sys_vendor") or ""
    if any(name in named.lower() for name in _HYPERVISORS):
        return named
    if board == "linux,dummy-virt":  # what QEMU's machine `virt` calls itself
        return "QEMU"
    return "a hypervisor" if "hypervisor" in flags else ""


def _android(session: Session) -> dict[str, str]:
    """What Android says of the device, without what names one of its kind (serial numbers); empty for another system."""
    properties = dict(re.findall(r"^\[([\w.]+)\]: \[(.*)\]$", command(session, ["getprop"]) or "", re.MULTILINE))
    return {name: value for name, key in _ANDROID.items() if (value := properties.get(key))}


def _system(release: Mapping[str, list[str]], android: Mapping[str, str]) -> str:
    if {"release", "build"} <= android.keys():
        return f"Android {android['release']} ({android['build']})"
    return (release.get("PRETTY_NAME") or [""])[0].strip('"')


def _arm_parts(info: Mapping[str, list[str]]) -> list[str]:
    """`implementer/part` of each kind of core (Arm names cores by number); empty on other machines."""
    return sorted({f"{i}/{p}" for i, p in zip(info.get("CPU implementer", []), info.get("CPU part", []), strict=False)})


def _board(session: Session, root: str) -> str | None:
    return command(session, ["cat", root + "proc/device-tree/model"])


def _distinct(places: Sequence[tuple[str | None, ...]]) -> int | None:
    return None if not places or any(None in place for place in places) else len(set(places))


def policy_folders(session: Session, sysfs: str) -> list[str]:
    """Of the groups of CPUs that share a clock."""
    return [path for path in children(session, sysfs + CPU_FOLDER + "cpufreq/") if POLICY.fullmatch(base(path))]
