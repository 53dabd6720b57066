"""Waiting until a device is as cool as it was at first: a time limit, and an answer instead of an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from targets import interrupt
from targets.facts import Facts
from targets.now import temperatures
from targets.session import Session
from targets.state.validity import known
from targets.target import Target

MARGIN_CELSIUS = 3.0
LIMIT_S = 600.0
POLL_S = 5.0


@dataclass(frozen=True, slots=True)
class Cooling:
    """How the wait went. After a long one the caches are cold: warm up again."""

    celsius: float | None
    """The hottest sensor at the end; None where none can be read."""
    waited_s: float
    reason: str | None = None
    """Why the device is still too hot to be timed; None when it is not."""


def cooled(
    session: Session,
    target: Target,
    baseline: Facts | None = None,
    *,
    margin_celsius: float = MARGIN_CELSIUS,
    limit_s: float = LIMIT_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = interrupt.sleep,
) -> Cooling:
    """Wait until no sensor is above `max_celsius`, nor further than a margin above what it showed in the state `baseline`.

    Without a sensor, or with nothing to hold it against, there is nothing to wait for.
    """
    first = {(s["sensor"], s["type"]): s["celsius"] for s in (known(baseline, "temperatures") if baseline else None) or ()}
    begin = clock()
    while True:
        now = temperatures(session, target.sysfs)
        hottest = max((sensor["celsius"] for sensor in now), default=None)
        hot = next(_too_hot(now, first, target.max_celsius, margin_celsius), None)
        waited_s = clock() - begin
        if hot is None or waited_s >= limit_s:
            return Cooling(hottest, waited_s, hot and f"{hot}, after {waited_s:.0f} s of waiting")
        sleep(min(POLL_S, limit_s - waited_s))


def _too_hot(
    now: Iterable[Facts], first: dict[tuple[str, str], float], max_celsius: float | None, margin_celsius: float
) -> Iterator[str]:
    for sensor in now:
        name, celsius = sensor["type"] or sensor["sensor"], sensor["celsius"]
        start = first.get((sensor["sensor"], sensor["type"]))
        if max_celsius is not None and celsius > max_celsius:
            yield f"{name} is at {celsius:.0f} °C, the inventory allows {max_celsius:g}"
        elif start is not None and celsius > start + margin_celsius:
            yield f"{name} is at {celsius:.0f} °C, at first it was at {start:.0f}"
