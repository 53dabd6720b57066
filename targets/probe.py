"""A device looked at for the first time: what there is to know for its entry in the inventory."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from targets.facts import machine_facts
from targets.inventory import entry_text
from targets.now import state
from targets.session import Session
from targets.target import Target

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_POLICIES = "/sys/devices/system/cpu/cpufreq"
_ARM_CORES = {
    "0x41/0xd03": "cortex_a53", "0x41/0xd04": "cortex_a35", "0x41/0xd05": "cortex_a55", "0x41/0xd07": "cortex_a57",
    "0x41/0xd08": "cortex_a72", "0x41/0xd09": "cortex_a73", "0x41/0xd0a": "cortex_a75", "0x41/0xd0b": "cortex_a76",
    "0x41/0xd0c": "neoverse_n1", "0x41/0xd0d": "cortex_a77", "0x41/0xd40": "neoverse_v1", "0x41/0xd41": "cortex_a78",
    "0x41/0xd49": "neoverse_n2", "0x41/0xc07": "cortex_a7", "0x41/0xc09": "cortex_a9", "0x41/0xc0f": "cortex_a15",
}  # fmt: skip
"""implementer/part of /proc/cpuinfo (Arm's MIDR values) -> the compiler's name of the core."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a device showed."""

    facts: Mapping[str, Any]
    state: Mapping[str, Any]
    clusters: tuple[int, ...]
    """Cores of each cluster, fastest first."""
    frequencies_hz: tuple[int, ...]
    governors: tuple[str, ...]
    """That can be chosen."""
    sensors: tuple[str, ...]
    """Temperatures that can be read, by type."""
    python: str
    """Its version; empty where there is none."""
    runtimes: Mapping[str, str]
    """Distribution -> version, of those asked for that its Python has."""


def probe(session: Session, distributions: Sequence[str]) -> Probe:
    facts, now = machine_facts(session), state(session)
    names = ("cpuinfo_max_freq", "related_cpus", "scaling_available_frequencies", "scaling_available_governors")
    paths = [f"{_POLICIES}/policy{index}/{name}" for index in range(_known(facts, "cpus") or 0) for name in names]
    result = session.run(["grep", "-H", "-s", "", *paths], timeout_s=30) if paths else None
    policies: dict[str, dict[str, list[str]]] = {}
    for line in result.stdout.decode("utf-8", "replace").splitlines() if result else ():
        path, _, content = line.partition(":")
        folder, _, name = path.rpartition("/")
        policies.setdefault(folder, {})[name] = content.split()
    cores = Counter[int]()
    for policy in policies.values():
        cores[max(_numbers(policy.get("cpuinfo_max_freq", [])), default=0)] += len(policy.get("related_cpus", []))
    python, runtimes = _python(session, distributions)
    return Probe(
        facts,
        now,
        tuple(count for _, count in sorted(cores.items(), reverse=True)) or (_known(facts, "cpus") or 1,),
        tuple(sorted({1000 * khz for p in policies.values() for khz in _numbers(p.get("scaling_available_frequencies", []))})),
        tuple(sorted({governor for p in policies.values() for governor in p.get("scaling_available_governors", [])})),
        tuple(sensor["type"] for sensor in _known(now, "temperatures") or ()),
        python,
        runtimes,
    )


def described(target: Target, found: Probe) -> Target:
    """The target with what the probe found, where the user said nothing."""
    parts = found.facts["cpu_parts"]
    is_here = BOOT_ID.exists() and found.facts["boot_id"] == BOOT_ID.read_text().strip()
    named = target.host not in ("", target.address)
    return replace(
        target,
        isa=target.isa or _known(found.facts, "isa") or "",
        cpu=target.cpu or (_ARM_CORES.get(parts[0], "") if len(parts) == 1 else ""),
        host=target.host if named or not is_here else "localhost",
        thread_counts=target.thread_counts or tuple(sorted({1, *found.clusters, sum(found.clusters)})),
        frequencies_hz=target.frequencies_hz or found.frequencies_hz,
        python=target.python or ("" if found.python else "none"),
    )


def entry(target: Target, found: Probe) -> str:
    """The target as an entry of an inventory file, with what the device said of itself as its comment."""
    about = f"{_known(found.facts, 'cpu_model') or 'a CPU without a name'}, kernel {_known(found.facts, 'kernel') or 'unknown'}"
    return entry_text(target, printable_line(about))


def printable_line(text: str) -> str:
    """What a device said of itself, in a comment: one line, no control characters."""
    return "".join(character if character.isprintable() else "?" for character in text)[:200]


def _python(session: Session, distributions: Sequence[str]) -> tuple[str, Mapping[str, str]]:
    """Its version, and the versions of those distributions that it has."""
    program = (
        "import json, sys\n"
        "from importlib import metadata\n"
        "def version(name):\n"
        "    try:\n"
        "        return metadata.version(name)\n"
        "    except metadata.PackageNotFoundError:\n"
        "        return None\n"
        "print(json.dumps([sys.version.split()[0], {name: version(name) for name in sys.argv[1:]}]))"
    )
    result = session.run([session.python, "-c", program, *distributions], timeout_s=60)
    lines = result.stdout.splitlines()
    if result.exit_status != 0 or not lines:
        return "", {}
    try:
        said = json.loads(lines[-1])
    except ValueError:
        return "", {}
    return str(said[0]), {name: str(version) for name, version in said[1].items() if version is not None}


def _known(facts: Mapping[str, Any], name: str) -> Any:
    """A fact, or None where there is a reason instead."""
    value = facts[name]
    return None if isinstance(value, Mapping) and "reason" in value else value


def _numbers(words: Sequence[str]) -> list[int]:
    return [int(word) for word in words if re.fullmatch(r"[0-9]{1,18}", word)]
