"""What an inference costs in energy: the device idles, loops steadily over a few windows, idles again, and its meters watch all of it.

A window is a process launch of the runner; it counts from the start of its first timed sample to the end of its last, on the device's own clock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.errors import RunnerError
from harness.suite import Sampling
from results.record import Measurement, Origin, Samples
from targets.interrupt import sleep
from targets.meters import Silent, meters_of, models_of
from targets.power.device_clock import NoClock, ping
from targets.power.integrate import Energy, Idle, Invalid, energy, idle_power, power
from targets.power.trace import TIERS, NoTrace, Trace
from targets.power.work import Work
from targets.session import CommandFailed, Session
from targets.target import Target

if TYPE_CHECKING:
    from harness.measure import Launch

SETTLE_S = 1.0
"""After the last command, until a device counts as idle; and until a slow meter has read once more."""
MOST_LOOPS = 2**32 - 1
"""That a sample can say of itself."""


@dataclass(frozen=True, slots=True)
class Spent:
    """A cell's energy, or why there is none, and what it was measured with."""

    measurements: tuple[Measurement, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


class _Judged(NamedTuple):
    """What a meter says of each window, and of itself."""

    trace: Trace
    found: list[Energy | Invalid]
    facts: dict[str, Any]


class _Window(NamedTuple):
    begin_s: float
    end_s: float
    """On the device's clock."""
    edge_s: float
    """To within what both are known."""
    inferences: int


def no_energy(target: Target, reason: str, facts: Mapping[str, Any] | None = None) -> Spent:
    provenance = {} if facts is None else {"energy": dict(facts)}
    return Spent((Measurement("energy", "J", target.origin, "not measured", None, reason),), provenance)


def spent(session: Session, target: Target, sampling: Sampling, work: Work, launch: Callable[[Sampling], Launch]) -> Spent:
    """Energy of an inference by the best of the target's meters; by a model of it where nothing else is named.

    `launch` times one process launch, as it is told.
    """
    models = {name: {"tier": model.tier, **model.joules(work)} for name, model in models_of(target).items()}
    if not target.meters:
        return no_energy(target, f"target `{target.name}` has no meter")
    if len(models) == len(target.meters):
        return _estimated(work, models)
    if not sampling.energy_s:
        return no_energy(target, "the suite asks for no energy: set `energy_s` of `sampling`")
    if target.no_time:
        return no_energy(target, target.no_time)
    try:
        traces, windows, idle = _recorded(session, target, sampling, launch)
    except (CommandFailed, NoClock) as error:
        return no_energy(target, f"the energy could not be measured: {error}")
    silent = {name: trace.reason for name, trace in traces.items() if isinstance(trace, NoTrace)}
    judged = {name: _judged(trace, windows, idle) for name, trace in traces.items() if isinstance(trace, Trace)}
    if not judged:
        return no_energy(target, "; ".join(silent.values()), {"silent": silent, "models": models})
    best = min(judged, key=lambda name: judged[name].trace.tier)  # of equals the first that is named
    others = {name: one.facts for name, one in judged.items() if name != best}
    return _spent(target, windows, judged[best], {"silent": silent, "others": others, "models": models})


def _recorded(
    session: Session, target: Target, sampling: Sampling, launch: Callable[[Sampling], Launch]
) -> tuple[dict[str, Trace | NoTrace], list[_Window], list[tuple[float, float]]]:
    """What the meters saw, and when the device looped and when it idled; it does neither where no meter can record."""
    longer = dataclasses.replace(sampling, min_s=sampling.energy_s, max_launch_s=sampling.max_launch_s + sampling.energy_s)
    windows, idle = list[_Window](), list[tuple[float, float]]()
    with ExitStack() as stack:
        recordings = {name: stack.enter_context(meter.window(session)) for name, meter in meters_of(target).items()}
        if not all(isinstance(recording, Silent) for recording in recordings.values()):
            idle = _idle(session, sampling.idle_s)
            windows = [_window(launch(longer)) for _ in range(sampling.energy_windows)]
            idle += _idle(session, sampling.idle_s)
    return {name: recording.trace for name, recording in recordings.items()}, windows, idle


def _idle(session: Session, seconds: float) -> list[tuple[float, float]]:
    """Leave the device alone; the window that it surely idled in, on its own clock."""
    begin_s = ping(session).device_s + SETTLE_S
    sleep(SETTLE_S + seconds + SETTLE_S)
    return [(begin_s, begin_s + seconds)] if seconds else []


def _window(launch: Launch) -> _Window:
    """When the timed samples ran. The runner looks at its clock before the first of all samples and after the last."""
    reply = launch.reply
    columns, before, after = reply.samples, reply.state_before, reply.state_after
    assert columns is not None and before is not None and after is not None
    if reply.clock.name != "CLOCK_MONOTONIC":
        raise RunnerError(f"the runner times by {reply.clock.name}, which no meter's clock can be set beside")
    first = columns.timed.index(True)
    last_s = (columns.start_ns[-1] + columns.duration_ns[-1]) / 1e9
    spare_s = max(0.0, after.monotonic_s - before.monotonic_s - last_s)
    start_s = before.monotonic_s + spare_s / 2
    inferences = sum(columns.loops[first:])
    return _Window(start_s + columns.start_ns[first] / 1e9, start_s + last_s, spare_s / 2, inferences)


def _judged(trace: Trace, windows: Sequence[_Window], idle: Sequence[tuple[float, float]]) -> _Judged:
    rest = idle_power(trace, idle) if idle else Invalid("the suite asks for no idle time", ())
    known = rest if isinstance(rest, Idle) else None
    found = [energy(trace, window.begin_s, window.end_s, edge_s=window.edge_s, idle=known) for window in windows]
    facts = {
        "meter": trace.meter,
        "tier": trace.tier,
        "tier_means": TIERS[trace.tier],
        "origin": trace.origin,
        "clock": trace.clock,
        "rate_hz": trace.rate_hz,
        "samples": len(trace.time_s),
        "dropped": trace.dropped,
        "uncertainty": trace.relative_uncertainty,
        "range_w": trace.range_w,
        "offset": None if trace.offset is None else dataclasses.asdict(trace.offset),
        "channels": [dataclasses.asdict(channel) for channel in trace.channels],
        "facts": dict(trace.facts),
        "flags": sorted({flag for one in found for flag in one.flags}),
        "idle_w": None if known is None else known.watts,
        "idle_uncertainty_w": None if known is None else known.uncertainty_w,
        "idle_reason": None if known else rest.reason if isinstance(rest, Invalid) else None,
        "windows": [{**window._asdict(), **dataclasses.asdict(one)} for window, one in zip(windows, found, strict=True)],
    }
    return _Judged(trace, found, facts)


def _spent(target: Target, windows: Sequence[_Window], judged: _Judged, more: Mapping[str, Any]) -> Spent:
    trace, facts = judged.trace, {**judged.facts, **more}
    pairs = list(enumerate(zip(windows, judged.found, strict=True)))
    good = [(index, window, one) for index, (window, one) in pairs if isinstance(one, Energy)]
    if not good:
        return no_energy(target, next(one.reason for one in judged.found if isinstance(one, Invalid)), facts)
    origin: Origin = target.origin if trace.origin == "measured" else trace.origin
    flags = (*facts["flags"], *(("invalid_window",) if len(good) < len(windows) else ()))
    how = f"{trace.meter} ({trace.tier}: {TIERS[trace.tier]})"

    def of_windows(metric: str, unit: str, method: str, value: Callable[[_Window, Energy], float]) -> Measurement:
        samples = dataclasses.replace(
            Samples.of([value(window, one) for _, window, one in good]),
            launch=np.array([index for index, _, _ in good], np.uint16),
            loops=np.array([min(window.inferences, MOST_LOOPS) for _, window, _ in good], np.uint32),
            start_s=np.array([window.begin_s - windows[0].begin_s for _, window, _ in good]),
        )
        return Measurement(metric, unit, origin, f"{method}; by {how}", samples, clock="CLOCK_MONOTONIC", flags=flags)

    call, idle_w = "one inference call (a whole batch) of a window of steady looping", facts["idle_w"]
    taken = f"less what the device draws when idle, of {call}"
    measurements = (
        of_windows("energy", "J", f"gross, of {call}", lambda window, one: one.joules / window.inferences),
        Measurement("energy_net", "J", origin, f"{taken}; by {how}", None, facts["idle_reason"])
        if idle_w is None
        else of_windows("energy_net", "J", taken, lambda window, one: (one.joules - idle_w * one.seconds) / window.inferences),
        of_windows("power", "W", "mean over a window of steady looping", lambda _, one: one.average_w),
        of_windows("peak_power", "W", "largest reading in a window of steady looping", lambda _, one: one.peak_w),
        _power_trace(trace, windows, how, origin),
    )
    return Spent(measurements, {"energy": facts})


def _estimated(work: Work, models: Mapping[str, Mapping[str, Any]]) -> Spent:
    """By the first of the models."""
    name, facts = next(iter(models.items()))
    joules = sum(value for part, value in facts.items() if part.endswith("_j"))
    method = (
        f"of one inference call (a whole batch): counts of operations and accesses times a table; by {name} ({facts['tier']})"
    )
    about = {
        "meter": name,
        "tier": facts["tier"],
        "tier_means": TIERS[facts["tier"]],
        "origin": "estimated",
        "work": dataclasses.asdict(work),
        "models": dict(models),
    }
    return Spent((Measurement("energy", "J", "estimated", method, Samples.of(joules)),), {"energy": about})


def _power_trace(trace: Trace, windows: Sequence[_Window], how: str, origin: Origin) -> Measurement:
    """Every reading, also the idle ones, which are marked as not timed and bear the number of the window that follows."""
    time_s, watts = power(trace)
    begins, ends = (np.array([getattr(window, name) for window in windows]) for name in ("begin_s", "end_s"))
    following = np.minimum(np.searchsorted(ends, time_s), len(windows) - 1)
    samples = Samples(
        watts,
        following.astype(np.uint16),
        (time_s >= begins[following]) & (time_s <= ends[following]),
        np.ones(len(watts), np.uint32),
        time_s - time_s[0],
    )
    method = f"all channels together, idle and steady looping, seconds from the first reading; by {how}"
    return Measurement("power_trace", "W", origin, method, samples, clock="CLOCK_MONOTONIC")
