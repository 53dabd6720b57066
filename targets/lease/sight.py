"""What a device says of its lease, read strictly: the device, and whoever else may write there, are not trusted."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, unquote

from targets.session import CommandFailed

GENERATION_DIGITS = 12
MAX_TOKEN = 10**15 - 1
MAX_HOLDER = 240
"""Characters, as they are written."""
_BOOT = r"[0-9a-f-]{36}"
_SESSION = r"[0-9]{1,20}\.[0-9]{1,20}\.[0-9]{1,20}"
_TICKET = re.compile(
    rf"assay1 (?P<nonce>[0-9a-f]{{16}}) (?P<boot>{_BOOT}) (?P<device>[0-9a-f]{{16}}) (?P<token>[0-9]{{1,15}}) (?P<state>held|free) "
    r"(?P<expires>[0-9]{1,10}) (?P<since>[0-9]{1,12}) (?P<session>" + _SESSION + r") (?P<uid>[0-9]{1,10}) "
    rf"(?P<holder>[!-~]{{1,{MAX_HOLDER}}})"
)
_SIGHT = re.compile(
    rf"place (?P<place>/[^\n\0]*)\nboot (?P<boot>{_BOOT})\nuptime (?P<uptime>[0-9]{{1,10}})\nmachine (?P<machine>[^\n]*)\n"
    rf"session (?P<session>{_SESSION})\ntop (?P<top>[0-9]{{{GENERATION_DIGITS}}})? ?(?P<life>alive|gone)?\nline (?P<line>[^\n]*)\n"
)


@dataclass(frozen=True, slots=True)
class Ticket:
    """One lease as it stands on the device."""

    nonce: str
    boot: str
    device: str
    """What is sent on from lease to lease: who the device is."""
    token: int
    state: str
    expires: int
    """Seconds of uptime during `boot`."""
    since: int
    """Seconds since 1970 by the holder's clock."""
    session: str
    uid: int
    holder: str
    """As the holder calls itself, made harmless to print."""


class Sight(NamedTuple):
    """A look at a device."""

    place: str
    """The folder of its leases."""
    boot: str
    uptime_s: int
    machine: str
    """What it calls itself for good; empty where it has no such name."""
    session: str
    top: str
    """The highest generation; empty where there is none."""
    life: str
    """Whether the holder's session has ended for certain (`gone`)."""
    line: str

    @property
    def ticket(self) -> Ticket | None:
        """None where there is none, or one that no Assay wrote."""
        return parse_ticket(self.line)

    @property
    def next_generation(self) -> str:
        return f"{int(self.top or 0) + 1:0{GENERATION_DIGITS}d}"

    @property
    def device(self) -> str:
        """Who the device is: from what it was installed with and is called, or drawn by lot for as long as the folder lasts."""
        if self.machine.partition(" ")[0]:
            return hashlib.sha256(f"assay device {self.machine}".encode()).hexdigest()[:16]
        ticket = self.ticket
        return secrets.token_hex(8) if ticket is None else ticket.device

    @property
    def is_free(self) -> bool:
        """Given up, or ended: by a reboot, by the end of the session that held it, by its time. What cannot be read is not free."""
        ticket = self.ticket
        if ticket is None:
            return not self.top
        ended = ticket.boot != self.boot or self.life == "gone" or self.uptime_s > ticket.expires
        return ticket.state == "free" or ended


def parse_ticket(line: str) -> Ticket | None:
    match = _TICKET.fullmatch(line)
    if match is None:
        return None
    words = match.groupdict()
    numbers = {name: int(words.pop(name)) for name in ("token", "expires", "since", "uid")}
    holder = "".join(c if c.isprintable() else "?" for c in unquote(words.pop("holder"), errors="replace"))
    return Ticket(**words, **numbers, holder=holder)  # type: ignore[arg-type]  # the keys are the pattern's


def parse_sight(name: str, said: bytes) -> Sight:
    """`name`: the target's, for the message of CommandFailed."""
    match = _SIGHT.fullmatch(said.decode("utf-8", "backslashreplace"))
    if match is None:
        raise CommandFailed(f"target {name}: it says of its lease what cannot be understood: {said[:200]!r}")
    found = match.groupdict(default="")
    return Sight(
        found["place"], found["boot"], int(found["uptime"]), found["machine"].strip(), found["session"], found["top"], found["life"],
        found["line"],
    )  # fmt: skip


def written(holder: str) -> str:
    """The holder's name as one word of plain ASCII, no longer than it may be."""
    word = quote(holder, safe="@:.,-_()/")[:MAX_HOLDER] or "-"
    return re.sub(r"%.?$", "", word)
