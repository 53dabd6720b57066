"""One device, one user: a lease with a fencing token, kept on the device itself, so that all hosts, accounts and transports agree.

    with connect(target) as session, leased(session, target) as held:
        held.session.run(["true"], timeout_s=10)     # LeaseLost once another has the device
        held.check()                                 # before what was measured is kept

Why no two are inside at once. The lease is the file of the highest generation in one folder of the device (`scripts.py`), and exactly one can
make the next. Who makes it kills what the last holder's sessions left running before going in. A command of the last holder either carries
its run's name by then and is killed, or looks at the lease after it and is refused: the process that looks becomes the command. So a holder
that was stopped, cut off or outrun does nothing more there, whenever it wakes.

Why no clock is trusted. A lease ends by the device's own uptime, during one boot; a reboot ends it at once, and so does the end of the session
that holds it, where the device can see that. A wall clock that steps changes nothing.

Why the token grows. Each lease takes more than the one before it on the device, more than the store has seen of the device (`above`), and at
least the milliseconds since 1970. The folder lies where it outlives a reboot if the device has such a place. Where it does not, or was deleted, the
second and third rule hold the order, as far as hosts' clocks are not set back; that order matters to the store alone, for on the device a lease
is known by its nonce and boot, and who held one before a reboot is refused whatever the number.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from targets import interrupt, quiet
from targets.lease.held import ANSWER_S, Held, Lease, LeaseLost
from targets.lease.scripts import LOOK, TAKE
from targets.lease.sight import GENERATION_DIGITS, MAX_TOKEN, Sight, parse_sight, written
from targets.session import CommandFailed, Session, Unreachable
from targets.target import Target

__all__ = ["EXPIRY_S", "WAIT_S", "Busy", "Held", "Lease", "LeaseLost", "break_lease", "leased", "look"]

EXPIRY_S = 90.0
"""Of the device's uptime, after the last renewal: how long a harness may be cut off before another may come in its place."""
WAIT_S = 600.0
"""For a busy device."""
LEAST_PAUSE_S = 0.2
MOST_PAUSE_S = 10.0
"""Between two looks at a busy device; its holder may be timing."""
TRIES = 5
"""Against others who take the device at the same moment."""
RACED = "another's, who was faster"


class Busy(Unreachable):
    """Another has the device, and had it as long as we waited."""


@contextmanager
def leased(
    session: Session,
    target: Target,
    *,
    holder: str = "",
    wait_s: float = WAIT_S,
    on_wait: Callable[[str], None] = lambda _: None,
    above: Callable[[str], int] = lambda _: 0,
    expiry_s: float = EXPIRY_S,
) -> Iterator[Held]:
    """The device for this block alone; Busy if it is another's for `wait_s`.

    `holder`: what others are told (empty: user, host and process). `on_wait` is told once whom it waits for, `above` says the highest token
    that is known of a device. Who shares devices has one `expiry_s`. Harnesses of one user on one machine queue here and do not even ask the device.
    """
    waiting = _Waiting(target, time.monotonic() + wait_s, on_wait)
    queue = f"lease of {target.host} {_folder(target)}"
    with quiet.alone(queue, pause=lambda: waiting.pause("another harness of yours on this machine", LEAST_PAUSE_S)):
        held = _acquired(session, target, holder or _ourselves(), waiting, above, expiry_s)
        with held.renewed():
            yield held


def look(session: Session, target: Target) -> Sight:
    """The lease as it stands; changes nothing."""
    result = session.run(["sh", "-c", LOOK, "sh", _folder(target)], timeout_s=ANSWER_S, max_output_bytes=1 << 14)
    if result.exit_status < 0:
        raise Unreachable(f"target {target.name}: the look at its lease was killed there")
    if result.exit_status != 0 or result.timed_out:
        raise CommandFailed(f"target {target.name}: its lease cannot be read: {result.stderr.decode('utf-8', 'replace')[-300:]}")
    return parse_sight(target.name, result.stdout)


def break_lease(session: Session, target: Target) -> Sight:
    """Take the lease from whoever has it, kill what runs under it, and leave the device free; what was found there."""
    for _ in range(TRIES):
        found = look(session, target)
        held = _take(session, target, found, _ourselves())
        if isinstance(held, Held):
            held.give_up()
            return found
    raise CommandFailed(f"target {target.name}: the lease cannot be broken: it is {held}")


class _Waiting:
    """For one device, until a deadline."""

    def __init__(self, target: Target, deadline: float, on_wait: Callable[[str], None]) -> None:
        self._target, self._deadline, self._on_wait = target, deadline, on_wait
        self._has_told = False

    def pause(self, whom: str, pause_s: float) -> None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise Busy(
                f"target {self._target.name}: the device is in use by {whom}; wait for it, or see `assay lease list` and "
                f"`assay lease break {self._target.name}`"
            )
        if not self._has_told:
            self._on_wait(whom)
            self._has_told = True
        interrupt.sleep(min(pause_s, left_s))


def _acquired(
    session: Session, target: Target, holder: str, waiting: _Waiting, above: Callable[[str], int], expiry_s: float
) -> Held:
    pause_s, seen, since = LEAST_PAUSE_S, "", time.monotonic()
    while True:
        sight = look(session, target)
        ticket = sight.ticket
        if f"{sight.top} {sight.line}" != seen:
            seen, since = f"{sight.top} {sight.line}", time.monotonic()
        is_still = (
            time.monotonic() - since > expiry_s
        )  # nobody renews it, whatever it says: forged, half written, or a clock that stands
        whom = "one who does not say who" if ticket is None else ticket.holder
        if sight.is_free or is_still:
            held = _take(session, target, sight, holder, above, expiry_s)
            if isinstance(held, Held):
                return held
            if held != RACED:
                whom = held
        waiting.pause(whom, pause_s)
        pause_s = min(2 * pause_s, MOST_PAUSE_S)


def _take(
    session: Session,
    target: Target,
    sight: Sight,
    holder: str,
    above: Callable[[str], int] = lambda _: 0,
    expiry_s: float = EXPIRY_S,
) -> Held | str:
    """The lease, or why it could not be had."""
    ticket, own_name = sight.ticket, sight.device
    device, now_ms = f"{target.host}/{own_name}", int(1000 * time.time())
    token = max(now_ms, above(device) + 1, 0 if ticket is None else ticket.token + 1)
    if token > MAX_TOKEN or len(sight.next_generation) > GENERATION_DIGITS:
        raise CommandFailed(f"target {target.name}: the lease there has no higher number; delete the folder {sight.place} there")
    head = f"assay1 {secrets.token_hex(8)}"
    words = [
        sight.top,
        sight.next_generation,
        str(int(expiry_s)),
        head,
        own_name,
        str(token),
        str(now_ms // 1000),
        written(holder),
    ]
    result = session.run(["sh", "-c", TAKE, "sh", sight.place, *words], timeout_s=2 * ANSWER_S)
    answer = result.stdout.decode("utf-8", "replace").strip()
    if result.exit_status < 0:  # so slow that its time was over already, and who came next killed it
        return RACED
    if result.exit_status != 0 or result.timed_out:
        said = " ".join(result.stderr.decode("utf-8", "replace").split())[-300:]
        raise CommandFailed(f"target {target.name}: the lease cannot be taken: {said or f'exit status {result.exit_status}'}")
    if answer in ("held", "left"):
        mine = [sight.place, sight.next_generation, head, f"{own_name} {token}"]
        held = Held(target.name, session, Lease(device, token, holder), mine, expiry_s)
        if answer == "held":
            return held
        held.give_up()
        raise CommandFailed(
            f"target {target.name}: what the last holder runs there cannot be killed; switch the device off and on"
        )
    if answer.startswith("theirs "):
        uid = answer.removeprefix("theirs ")[:10]
        return f"that of account {uid} there, whose processes only it and root may end"
    return RACED


def _folder(target: Target) -> str:
    return target.lease_dir or os.environ.get("ASSAY_LEASE_DIR", "")


def _ourselves() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()} (process {os.getpid()})"
