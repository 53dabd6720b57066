"""Quarantine: a device whose faults come one after another is not touched again until a person releases it.

A log of events for each target: `fault` and `good` are how visits ended, `quarantined` and `released` close and open the door.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from results.database import StoreError
from results.schema import DEVICE_EVENTS

FAULTS = 3
"""Faulty visits in a row, in any run, that put a device into quarantine."""

Event = Literal["fault", "good", "quarantined", "released"]


class Quarantine(NamedTuple):
    since: str
    """UTC, ISO 8601."""
    reason: str


def note_visit(connection: Connection, target: str, fault: str | None, at: str) -> None:
    """How a visit ended: by a fault of the device's, or (None) well, which is worth a row only after a fault."""
    last = _last(connection, target, FAULTS)
    if fault is None:
        if last[:1] == ["fault"]:
            _write(connection, target, "good", None, at)
        return
    _write(connection, target, "fault", fault, at)
    if last[: FAULTS - 1] == ["fault"] * (FAULTS - 1):
        _write(connection, target, "quarantined", f"{FAULTS} faulty visits in a row, the last: {fault}", at)


def quarantined(connection: Connection) -> dict[str, Quarantine]:
    """The targets that may not be touched."""
    gates = sa.select(sa.func.max(DEVICE_EVENTS.c.number)).where(DEVICE_EVENTS.c.event.in_(("quarantined", "released")))
    shut = sa.select(DEVICE_EVENTS).where(
        DEVICE_EVENTS.c.number.in_(gates.group_by(DEVICE_EVENTS.c.target)), DEVICE_EVENTS.c.event == "quarantined"
    )
    rows = connection.execute(shut.order_by(DEVICE_EVENTS.c.target))
    return {row.target: Quarantine(row.happened, row.reason) for row in rows}


def release(connection: Connection, target: str, reason: str, at: str) -> Quarantine:
    """What it was in for; StoreError for a target that is free."""
    found = quarantined(connection)
    if target not in found:
        others = f"; in quarantine: {', '.join(found)}" if found else ""
        raise StoreError(f"target {target} is not in quarantine{others}")
    _write(connection, target, "released", reason, at)
    return found[target]


def _last(connection: Connection, target: str, count: int) -> list[str]:
    """The newest events first."""
    mine = sa.select(DEVICE_EVENTS.c.event).where(DEVICE_EVENTS.c.target == target)
    return list(connection.execute(mine.order_by(DEVICE_EVENTS.c.number.desc()).limit(count)).scalars())


def _write(connection: Connection, target: str, event: Event, reason: str | None, at: str) -> None:
    row = {"target": target, "event": event, "reason": reason, "happened": at}
    connection.execute(sa.insert(DEVICE_EVENTS).values(row))
