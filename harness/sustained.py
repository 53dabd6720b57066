"""Sustained mode: one launch that loops without a rest for as long as it takes a device to become warm, and what it showed meanwhile.

Every sample is kept with its time, and so is every reading of temperature and clock. A clock that falls is here a finding, not a fault.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.measure import measurements
from harness.suite import Sampling
from results.record import Measurement, Samples
from targets.device_files import lines_of
from targets.facts import policy_folders
from targets.now import NO_CLOCK, NO_TEMPERATURE, sensors_of
from targets.power.sampled import Readings, sampled
from targets.power.trace import NoTrace
from targets.session import CommandFailed, Session
from targets.target import Target

if TYPE_CHECKING:
    from harness.measure import Launch

RATE_HZ = 2.0
"""Of the readings: twice as often as temperatures change by a visible step."""
MOST_SAMPLES = 20_000
"""Of the launch: a sample repeats the inference until so many fill the time."""
READ = """
def read(file):
    try:
        with open(file, "rb", 0) as opened:
            lines = opened.read(65536).decode("ascii").split("\\n")
        if not file.endswith("/time_in_state"):
            return lines[0].strip() or "-"
        return str(sum(int(khz) * int(ticks) for khz, ticks in (line.split() for line in lines if line.strip())))
    except (OSError, ValueError):
        return "-"
"""
"""The number that a file holds; of `time_in_state` the sum of clock times time (kHz, 10 ms), whose differences are the mean clock between readings."""
KHZ_TICK = 1000 * 0.01


class _Source(NamedTuple):
    """A file of the device that tells of its heat or its clock."""

    metric: str
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Sustained:
    """What a cell's long launch left: its measurements, and which sensor is which."""

    measurements: tuple[Measurement, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Metric -> names of its sensors, in the order of the samples' launch numbers."""


class _Kind(NamedTuple):
    unit: str
    factor: float
    method: str
    absent: str


_KINDS = {
    "temperature_trace": _Kind("°C", 1e-3, "each sensor", NO_TEMPERATURE),
    "clock_trace": _Kind("Hz", 1000.0, "scaling_cur_freq of each group of CPUs", NO_CLOCK),
    "residency_trace": _Kind(
        "Hz",
        KHZ_TICK,
        "mean clock since the reading before, by time_in_state of each group of CPUs",
        "no time_in_state that can be read",
    ),
}


def sustained(session: Session, target: Target, sampling: Sampling, launch: Callable[[Sampling], Launch]) -> Sustained:
    """Loop for `sustained_s` and read the device twice a second. `launch` times one process launch, as it is told."""
    longer = dataclasses.replace(
        sampling,
        min_s=sampling.sustained_s,
        min_sample_s=min(60.0, max(sampling.min_sample_s, sampling.sustained_s / MOST_SAMPLES)),
        max_launch_s=sampling.max_launch_s + sampling.sustained_s,
    )
    readings: Readings | NoTrace = NoTrace("the device shows neither temperature nor clock")
    try:
        sources = _sources(session, target)
        if not sources:
            ended = launch(longer)
        else:
            with sampled(session, [source.path for source in sources], RATE_HZ, lambda readings: readings, READ) as recording:
                ended = launch(longer)
            readings = recording.trace
    except CommandFailed as error:
        return Sustained((Measurement("sustained_latency", "s", target.origin, "not measured", None, str(error)),))
    latency, *_ = measurements([ended], target)
    how = f"one launch that looped for {sampling.sustained_s:g} s without a rest; {latency.method}"
    before = ended.reply.state_before
    assert before is not None
    traces = [_trace(metric, kind, target, sources, readings, before.monotonic_s) for metric, kind in _KINDS.items()]
    names = {metric: [source.name for source in sources if source.metric == metric] for metric in _KINDS}
    return Sustained((dataclasses.replace(latency, metric="sustained_latency", method=how), *traces), {"sustained": names})


def _sources(session: Session, target: Target) -> list[_Source]:
    """Those that can be read now. A device without Python reads files alone, and none that is a table."""
    sysfs = target.sysfs
    sensors = sensors_of(session, sysfs)
    policies = policy_folders(session, sysfs)
    found = [
        *(_Source("temperature_trace", zone.rpartition("/")[2], f"{zone}/temp") for zone in sensors.zones),
        *(_Source("temperature_trace", "/".join(path.split("/")[-2:]), path) for path in sensors.inputs),
        *(_Source("clock_trace", policy.rpartition("/")[2], f"{policy}/scaling_cur_freq") for policy in policies),
        *(_Source("residency_trace", policy.rpartition("/")[2], f"{policy}/stats/time_in_state") for policy in policies),
    ]
    if session.python == "none":
        found = [source for source in found if source.metric != "residency_trace"]
    can_be_read = lines_of(session, [source.path for source in found]) if found else {}
    return [source for source in found if source.path in can_be_read]


def _trace(
    metric: str, kind: _Kind, target: Target, sources: Sequence[_Source], readings: Readings | NoTrace, start_s: float
) -> Measurement:
    """All readings of one kind; the sensor's number stands where a launch's does. Seconds from the launch's own start."""
    columns = [index for index, source in enumerate(sources) if source.metric == metric]
    method = f"{kind.method}, {RATE_HZ:g} times a second while the device looped"
    if not columns:
        return Measurement(metric, kind.unit, target.origin, method, None, kind.absent)
    if isinstance(readings, NoTrace):
        return Measurement(metric, kind.unit, target.origin, method, None, readings.reason)
    if len(readings.time_s) < 2:
        reason = f"{len(readings.time_s)} readings of all sensors together, {readings.unread} in which one could not be read"
        return Measurement(metric, kind.unit, target.origin, method, None, reason)
    time_s, values = readings.time_s, kind.factor * readings.values[:, columns]
    if metric == "residency_trace":
        time_s, values = time_s[1:], np.diff(values, axis=0) / np.diff(time_s)[:, None]
    n = values.size
    samples = Samples(
        values.T.ravel(),
        np.repeat(np.arange(len(columns)), len(time_s)).astype(np.uint16),
        np.ones(n, np.bool_),
        np.ones(n, np.uint32),
        np.tile(time_s - start_s, len(columns)),
    )
    return Measurement(metric, kind.unit, target.origin, method, samples, clock="CLOCK_MONOTONIC")
