"""Doctor: what is missing on a device, what makes its times noisy, and how to mend it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness import environment, plugins
from harness.cache import cache_root
from harness.errors import BuildError, RunnerError, Unsupported
from harness.noise import MOST_STEADY, keep, measured_noise
from harness.steps import versions
from targets.data import data_root
from targets.facts import machine_facts, machine_key
from targets.lease import leased
from targets.now import state
from targets.quiet import timing
from targets.session import Session
from targets.state import journal
from targets.state.settings import CPUFREQ
from targets.state.validity import FIRMWARE_BITS
from targets.target import Target
from targets.transports import connect

Level = Literal["good", "note", "noise", "missing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `mend` says what to do about it."""

    level: Level
    what: str
    mend: str = ""

    def to_json(self) -> dict[str, str]:
        return dataclasses.asdict(self)


_SMT = "/sys/devices/system/cpu/smt"
_SWITCHES = (
    ("/sys/devices/system/cpu/cpufreq/boost", "1", "turbo boost is on", "echo 0 | sudo tee {path}"),
    ("/sys/devices/system/cpu/intel_pstate/no_turbo", "0", "turbo is on", "echo 1 | sudo tee {path}"),
    (f"{_SMT}/active", "1", "SMT is on: two threads share a core", f"echo off | sudo tee {_SMT}/control"),
    ("/proc/sys/kernel/numa_balancing", "1", "NUMA balancing moves pages", "sudo sysctl kernel.numa_balancing=0"),
)
"""(file, the value that is noisy, what that means, how to mend it)"""


def examine(target: Target, noise_s: float = 0.0) -> tuple[Finding, ...]:
    """Look at a device through its own session, and at this host where it builds for it. `noise_s`: seconds of an A/A on it."""
    with connect(target) as session:
        facts, now = machine_facts(session), state(session, sysfs=target.sysfs)
        noise = () if target.origin == "emulated" else (*_noise(session, target, facts, now), *_control(session, target, now))
        found = (*_machine(target, facts), *_fits(target, facts, now), *noise, *_python(session, target), *_host())
        return (*found, *_floor(session, target, facts, noise_s))


def _floor(connection: Session, target: Target, facts: Mapping[str, Any], noise_s: float) -> Iterator[Finding]:
    """An A/A and a known load, while the device is ours alone. What it tells is kept, and every later record of the machine bears it."""
    if not noise_s:
        return
    if target.origin != "measured":
        yield Finding("note", f"no noise floor: the times of what is {target.origin} are no measurements")
        return
    try:
        with leased(connection, target) as held, timing(target.host):
            found = measured_noise(held.session, target, noise_s)
    except (Unsupported, BuildError, RunnerError) as error:
        yield Finding("missing", f"no noise floor: {error}", "mend this, and call the doctor again")
        return
    keep(machine_key(facts), found)
    is_noisy = found.floor > MOST_STEADY
    yield Finding(
        "noise" if is_noisy else "good",
        f"noise floor {found.floor:.2%}: identical programs differed by {found.ratio - 1:+.2%} [{found.low - 1:+.2%}, {found.high - 1:+.2%}] "
        f"in {found.pairs} A/B pairs; smaller differences on this machine count as none",
        "stop other work, or look longer: --noise 30" if is_noisy else "",
    )
    load = f"known load: {found.steps_hz / 1e6:.1f} M steps/s; twice the steps take {found.scaling:.3f} times the time"
    ends = f"[{found.scaling_low:.3f}, {found.scaling_high:.3f}]"
    yield Finding(
        "good" if found.scales else "noise",
        f"{load} {ends}",
        "" if found.scales else "its clock or its speed is not steady: pin the clock, cool it, stop other work",
    )


def _machine(target: Target, facts: Mapping[str, Any]) -> Iterator[Finding]:
    cores = f"{_value(facts, 'cores')} cores, " if _value(facts, "cores") else ""
    cpu = _value(facts, "cpu_model") or " ".join(facts["cpu_parts"]) or "a CPU without a name"
    yield Finding("good", f"{cpu}, {cores}kernel {_value(facts, 'kernel')}")
    if target.origin == "emulated":
        by = _value(facts, "virtualization") or "an emulator"
        yield Finding("note", f"emulated by {by}: its answers are real, its times are not, and every record says so")
    elif _value(facts, "virtualization"):
        yield Finding(
            "noise",
            f"a virtual machine ({_value(facts, 'virtualization')}): neighbours share its cores",
            "compare only within one interleaved run",
        )


def _fits(target: Target, facts: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the device is what the inventory says, and within its limits."""
    isa = _value(facts, "isa")
    if target.isa and isa and isa != target.isa:
        yield Finding("missing", f"the inventory says {target.isa}, the device is {isa}", f"isa: {isa}")
    temperatures = [sensor["celsius"] for sensor in _value(now, "temperatures") or ()]
    if not temperatures and target.origin != "emulated":
        yield Finding("note", "no temperature can be read: a device that throttles is known by its times alone")
    elif temperatures and target.max_celsius is not None:
        is_hot = max(temperatures) > target.max_celsius
        yield Finding(
            "noise" if is_hot else "good",
            f"{max(temperatures):.0f} °C, the inventory allows {target.max_celsius:g}",
            "let it cool down, or give it a fan" if is_hot else "",
        )


def _noise(session: Session, target: Target, facts: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding]:
    load = _value(now, "load_average")
    cores = _value(facts, "cores") or 1
    if load:
        one_minute = float(load[0])
        busy = one_minute > 0.25 * cores
        yield Finding(
            "noise" if busy else "good",
            f"load average {one_minute:.2f} on {cores} cores",
            "stop other work before you measure: `ps -eo pcpu,comm --sort=-pcpu | head`" if busy else "",
        )
    governors = sorted({str(policy.get("governor")) for policy in (_value(now, "cpufreq") or [])})
    if not governors:
        yield Finding("note", "no cpufreq: the clock can be neither read nor pinned here; records say `uncontrolled`")
    elif governors != ["performance"]:
        yield Finding(
            "noise",
            f"governor {', '.join(governors)}",
            "say `operating_points: {governor: performance}` in the suite, and Assay sets it while it measures",
        )
    else:
        yield Finding("good", "governor performance")
    for path, noisy, what, mend in _SWITCHES:
        yield from _switch(session, path.replace("/sys/", f"{target.sysfs}/", 1), noisy, what, mend)


def _control(session: Session, target: Target, now: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the clock can be set, what an earlier run left set, and what lowers the clock against all settings."""
    policies = [policy["policy"] for policy in _value(now, "cpufreq") or ()]
    files = [f"{target.sysfs}/{CPUFREQ}/{policy}/scaling_governor" for policy in policies]
    if any(session.run(["test", "-w", file], timeout_s=10).exit_status for file in files):
        yield Finding(
            "note",
            "this account may not set the clock: records say `uncontrolled`",
            "log in as root, or let it write the files of cpufreq",
        )
    found = journal.load(session, target, data_root() / "journals")
    if found.journal is not None:
        names = ", ".join(setting.name for setting in found.journal.settings)
        yield Finding(
            "noise", f"left tuned by a run that was killed: {names}", f"any `assay run` on {target.name} puts it back first"
        )
    throttling = _value(now, "throttling") or {}
    told = [
        name
        for bit, name in enumerate(FIRMWARE_BITS)
        if (bits := throttling.get("firmware_bits", 0)) >> bit & 1 or bits >> bit + 16 & 1
    ]
    if told:
        yield Finding("noise", f"since it was started the device was {', '.join(told)}", "a stronger power supply, or a fan")
    if throttling.get("android_thermal_status"):
        yield Finding("noise", f"Android's thermal status is {throttling['android_thermal_status']}", "let it cool down")


def _switch(session: Session, path: str, noisy: str, what: str, mend: str) -> Iterator[Finding]:
    result = session.run(["cat", path], timeout_s=10)
    if result.exit_status == 0:
        is_noisy = result.stdout.decode("utf-8", "replace").strip() == noisy
        yield Finding(
            "noise" if is_noisy else "good", what if is_noisy else f"{path} is quiet", mend.format(path=path) if is_noisy else ""
        )


def _python(session: Session, target: Target) -> Iterator[Finding]:
    """Which backends the device's own Python can run."""
    if target.python == "none":
        yield Finding("note", "no Python: backends that build whole programs run there, others do not")
        return
    result = session.run([session.python, "-c", "import sys; print(sys.version.split()[0])"], timeout_s=60)
    if result.exit_status:
        yield Finding(
            "missing",
            f"no Python at {session.python} on {target.name}",
            "install Python 3.8 or newer there, or name it in the inventory",
        )
        return
    yield Finding("good", f"Python {result.stdout.decode().strip()}")
    for name in plugins.names("backends"):
        yield _backend(session, target, name)


def _backend(session: Session, target: Target, name: str) -> Finding:
    """Whether the Python that would run it has what it needs; one that Assay does without is a note."""
    requires = plugins.load("backends", name).requires
    python = environment.interpreter(name, target) or session.python
    probe = f"import importlib.metadata as m\nfor d in {list(requires)!r}:\n print(d, m.version(d))"
    found = session.run([python, "-c", probe], timeout_s=60)
    if found.exit_status == 0:
        return Finding("good", f"backend {name}: {', '.join(found.stdout.decode().splitlines()) or 'needs nothing'}")
    level: Level = "note" if environment.is_optional(name) else "missing"
    mend = environment.missing(name, target) and environment.how_to_get(name)
    return Finding(
        level,
        f"backend {name}: not usable on {target.name}",
        mend or f"{session.python} -m pip install {' '.join(requires)}",
    )


def _host() -> Iterator[Finding]:
    compiler = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
    if compiler is None:
        yield Finding("missing", "no C compiler on this host", "apt install gcc, or your system's equivalent")
    else:
        yield Finding("good", f"C compiler {compiler}")
    absent = [name for name, found in versions(("torch", "onnx", "litert-torch", "ai-edge-quantizer")).items() if found is None]
    if absent:
        yield Finding(
            "missing",
            f"{', '.join(absent)}: networks cannot be made here, only prebuilt files measured",
            f"pip install {' '.join(absent)}",
        )
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    yield Finding(
        "good" if free > 2 << 30 else "noise",
        f"{free / 1e9:.1f} GB free in the cache folder {root}",
        "" if free > 2 << 30 else "free some space",
    )


def _value(facts: Mapping[str, Any], key: str) -> Any:
    """A fact, or None where it is absent (facts say absence as a mapping with a reason)."""
    value = facts.get(key)
    return None if isinstance(value, Mapping) and "reason" in value else value
