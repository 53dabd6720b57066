"""Whether a device stayed as it was while something was timed on it: its state before against its state after, both taken while it is tuned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from targets.facts import Facts
from targets.state.tuning import TOLERANCE, Control

FIRMWARE_BITS = ("under-voltage", "its clock capped", "throttled", "at its soft temperature limit")
"""Bits 0 to 3 of Raspberry Pi's get_throttled, now; 16 to 19 say the same of all time since boot."""
MOST_SLOW_SHARE = 0.01
"""Of the time between two states that a pinned clock may be seen below where it was pinned: counters step by 10 ms."""


def void_reason(before: Facts, after: Facts, control: Control, max_celsius: float | None = None) -> str | None:
    """Why what was timed between the two states does not count; None where nothing speaks against it.

    What a device does not show cannot speak against it: a clock without cpufreq is known by its times alone.
    """
    return next(_reasons(before, after, control, max_celsius), None)


def _reasons(before: Facts, after: Facts, control: Control, max_celsius: float | None) -> Iterator[str]:
    boots = known(before, "boot_id"), known(after, "boot_id")
    if None not in boots and boots[0] != boots[1]:
        yield "the device was restarted meanwhile: its boot id has changed"
    yield from _throttled(known(before, "throttling") or {}, known(after, "throttling") or {}, control)
    yield from _slowed(_policies(before), _policies(after), control)
    yield from _changed(_policies(after), control)
    for sensor in known(after, "temperatures") or ():
        if max_celsius is not None and sensor["celsius"] > max_celsius:
            yield f"{sensor['type'] or sensor['sensor']} is at {sensor['celsius']:.0f} °C, the inventory allows {max_celsius:g}"


def _throttled(before: Facts, after: Facts, control: Control) -> Iterator[str]:
    bits, earlier = after.get("firmware_bits", 0), before.get("firmware_bits", 0)
    told = [name for bit, name in enumerate(FIRMWARE_BITS) if (bits | (bits & ~earlier) >> 16) >> bit & 1]
    if told:
        yield f"throttled: the firmware reports the device {' and '.join(told)}"
    if after.get("cpu_events", 0) > before.get("cpu_events", 0):
        yield f"throttled: the CPU counted {after['cpu_events'] - before.get('cpu_events', 0)} thermal events"
    if after.get("android_thermal_status", 0) > 0:
        yield f"throttled: Android's thermal status is {after['android_thermal_status']}, not 0"
    clock, least = after.get("firmware_clock_hz"), min((hz for _, hz in control.held_hz), default=0)
    if control.tier == "pinned" and clock is not None and clock < (1 - TOLERANCE) * least:
        yield f"throttled: the firmware runs the cores at {clock / 1e6:.0f} MHz, pinned were {least / 1e6:g}"


def _slowed(before: Mapping[str, Facts], after: Mapping[str, Facts], control: Control) -> Iterator[str]:
    """By how long each clock was at each step, which misses nothing in between; by the clock just now where that is not counted."""
    if control.tier != "pinned":
        return
    for name, held_hz in control.held_hz:
        least_hz = (1 - TOLERANCE) * held_hz
        spent = _spent_s(known(before.get(name, {}), "time_in_state_s"), known(after.get(name, {}), "time_in_state_s"))
        slow = {hz: seconds for hz, seconds in spent.items() if hz < least_hz}
        now_hz = known(after.get(name, {}), "current_hz")
        if sum(slow.values()) > MOST_SLOW_SHARE * sum(spent.values()):
            yield (
                f"throttled: {name} was below the {held_hz / 1e6:g} MHz it was pinned to for {sum(slow.values()):.2f} of "
                f"{sum(spent.values()):.2f} s, down to {min(slow) / 1e6:g} MHz"
            )
        elif not spent and now_hz is not None and now_hz < least_hz:
            yield f"throttled: {name} runs at {now_hz / 1e6:g} MHz, pinned were {held_hz / 1e6:g}"


def _changed(after: Mapping[str, Facts], control: Control) -> Iterator[str]:
    """Settings that someone else has changed: what was timed ran partly under one and partly under another."""
    for setting in control.settings:
        folder, _, name = setting.name.rpartition("/")
        policy = after.get(folder.rpartition("/")[2], {})
        fact = {"scaling_governor": "governor", "scaling_min_freq": "min_hz", "scaling_max_freq": "max_hz"}.get(name)
        value = None if fact is None else known(policy, fact)
        kept = setting.after if fact == "governor" else f"{setting.after}000"
        if value is not None and setting.after is not None and str(value) != kept:
            yield f"another changed {setting.name} meanwhile, from {kept} to {value}"


def _spent_s(before: Mapping[str, float] | None, after: Mapping[str, float] | None) -> dict[int, float]:
    """Seconds at each step (Hz) between two readings; empty where the counters are not there or were reset."""
    if before is None or after is None:
        return {}
    spent = {int(hz): seconds - before.get(hz, 0.0) for hz, seconds in after.items()}
    return {hz: seconds for hz, seconds in spent.items() if seconds > 0} if min(spent.values(), default=0) >= 0 else {}


def _policies(state: Facts) -> dict[str, Facts]:
    return {policy["policy"]: policy for policy in known(state, "cpufreq") or ()}


def known(facts: Mapping[str, Any], name: str) -> Any:
    """A fact, or None where there is a reason instead."""
    value = facts.get(name)
    return None if isinstance(value, Mapping) and "reason" in value else value
