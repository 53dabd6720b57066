"""Who has which device, for people: one row a target of the inventory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from harness.devices import asked
from targets.lease import break_lease, look
from targets.lease.sight import Sight
from targets.target import Target
from targets.transports import connect


@dataclass(frozen=True, slots=True)
class Row:
    """The lease of a target's device."""

    target: str
    state: Literal["free", "held", "unreadable", "unreachable"]
    """`unreadable`: something lies there that no Assay wrote; it counts as held until nobody has touched it for long enough."""
    holder: str | None = None
    """User, host and process, as the holder says."""
    since: str | None = None
    """UTC, ISO 8601, by the holder's clock."""
    expires_s: int | None = None
    """Seconds from now, unless it is renewed before."""
    token: int | None = None
    """Of this lease, or of the last one."""
    device: str | None = None
    reason: str | None = None
    """Why the device could not be asked."""


def rows(targets: Mapping[str, Target]) -> list[Row]:
    """All devices are asked at once."""
    answers = asked(targets, look)
    return [
        Row(name, "unreachable", reason=answer.error) if answer.said is None else row(targets[name], answer.said)
        for name, answer in answers.items()
    ]


def broken(target: Target) -> Row:
    """The lease as it was before it was broken."""
    with connect(target) as session:
        return row(target, break_lease(session, target))


def row(target: Target, sight: Sight) -> Row:
    ticket = sight.ticket
    if ticket is None:
        return Row(target.name, "unreadable" if sight.top else "free")
    device = f"{target.host}/{ticket.device}"
    if sight.is_free:
        return Row(target.name, "free", token=ticket.token, device=device)
    since = datetime.fromtimestamp(ticket.since, UTC).isoformat(timespec="seconds")
    return Row(target.name, "held", ticket.holder, since, ticket.expires - sight.uptime_s, ticket.token, device)
