"""The clocks of a device, as the kernel groups them: what each can be set to, what a wanted operating point means for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from targets.device_files import lines_of
from targets.facts import policy_folders
from targets.session import Session
from targets.state.settings import BOOST, CPUFREQ, NO_TURBO, QUIET_ANDROID

STEADY_GOVERNORS = {"performance": "scaling_max_freq", "powersave": "scaling_min_freq"}
"""Governors that hold one clock, and the limit that it is at."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the device is to be while something is timed; None and False: as it is."""

    governor: str | None = None
    frequency_hz: int | None = None
    """The clock is held there by both of a policy's limits, and boost is switched off."""
    cpus: tuple[int, ...] | None = None
    """CPUs that the runner is bound to: the clocks of others are left alone."""
    android: bool = False
    """Android's quiet state: on battery as far as it knows, idle, off the air."""

    def __bool__(self) -> bool:
        return self.governor is not None or self.frequency_hz is not None or self.android


@dataclass(frozen=True, slots=True)
class Policy:
    """CPUs that share a clock."""

    name: str
    cpus: tuple[int, ...]
    """Empty: not known."""
    governors: tuple[str, ...]
    """Empty: the kernel does not say which there are."""
    steps_khz: tuple[int, ...]
    """Ascending; empty: any clock within the range."""
    least_khz: int
    most_khz: int
    """0: not known."""

    def setting(self, name: str) -> str:
        return f"{CPUFREQ}/{self.name}/{name}"

    def refusal(self, wanted: Wanted) -> str | None:
        """Why this clock cannot be as wanted."""
        if wanted.governor is not None and self.governors and wanted.governor not in self.governors:
            return f"{self.name} has no governor `{wanted.governor}`, only {', '.join(self.governors)}"
        if wanted.frequency_hz is None:
            return None
        khz = wanted.frequency_hz // 1000
        if self.steps_khz and khz not in self.steps_khz:
            steps = ", ".join(f"{step / 1000:g}" for step in self.steps_khz)
            return f"{self.name} cannot be held at {khz / 1000:g} MHz, only at {steps} MHz"
        if not self.steps_khz and not self.least_khz <= khz <= (self.most_khz or khz):
            return f"{self.name} cannot be held at {khz / 1000:g} MHz: it goes from {self.least_khz / 1000:g} to {self.most_khz / 1000:g}"
        return None


def policies(session: Session, sysfs: str) -> tuple[Policy, ...]:
    """All of a device, none where it shows no cpufreq."""
    names = (
        "related_cpus", "scaling_available_governors", "scaling_available_frequencies", "stats/time_in_state", "cpuinfo_min_freq",
        "cpuinfo_max_freq",
    )  # fmt: skip
    folders = policy_folders(session, sysfs)
    lines = lines_of(session, [f"{folder}/{name}" for folder in folders for name in names])
    found = []
    for folder in folders:
        words = {name: " ".join(lines.get(f"{folder}/{name}", [])).split() for name in names}
        states = [line.split()[:1] for line in lines.get(f"{folder}/stats/time_in_state", [])]
        steps = _numbers(words["scaling_available_frequencies"]) or _numbers([word for state in states for word in state])
        found.append(
            Policy(
                folder.rpartition("/")[2],
                _numbers(words["related_cpus"]),
                tuple(words["scaling_available_governors"]),
                tuple(sorted(steps)),
                max(_numbers(words["cpuinfo_min_freq"]), default=0),
                max(_numbers(words["cpuinfo_max_freq"]), default=0),
            )
        )
    return tuple(found)


def chosen(found: Sequence[Policy], wanted: Wanted) -> tuple[Policy, ...]:
    """Those whose clock matters: of the CPUs that are used, where that is known."""
    used = set(wanted.cpus or ())
    return tuple(policy for policy in found if not used or not policy.cpus or used & set(policy.cpus))


def settings_for(wanted: Wanted, found: Sequence[Policy]) -> dict[str, str]:
    """Name -> value of every setting that the wanted state means for these policies; a device may lack some of them."""
    values: dict[str, str] = {}
    for policy in found:
        if wanted.governor is not None:
            values[policy.setting("scaling_governor")] = wanted.governor
        if wanted.frequency_hz is not None:
            khz = str(wanted.frequency_hz // 1000)
            values |= {policy.setting("scaling_min_freq"): khz, policy.setting("scaling_max_freq"): khz}
            values |= {BOOST: "0", NO_TURBO: "1"}
    return values | (dict(QUIET_ANDROID) if wanted.android else {})


def held_khz(policy: Policy, wanted: Wanted, now: Mapping[str, str]) -> int | None:
    """The clock that a policy is held at once its settings are as wanted; None where the governor lets it float."""
    limit = STEADY_GOVERNORS.get(wanted.governor or "")
    if wanted.frequency_hz is not None:
        return wanted.frequency_hz // 1000
    value = now.get(policy.setting(limit), "") if limit else ""
    return int(value) if value.isdigit() else None


def _numbers(words: Sequence[str]) -> tuple[int, ...]:
    return tuple(int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 12)
