"""A device tuned for the time of a measurement, and put back: at the end, on an error, on Ctrl-C, and at the next connection after `kill -9`.

There is one way to a changed setting: its old value is read, journalled on disk on the host and on the device, then it is written and read
back. And there is one way back: `restore` replays the journal. It runs when `tuned` ends, however it ends, and when it begins.
What someone else changed meanwhile is left as it is, and said. What a reboot has reset is not restored.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from targets import interrupt
from targets.device_files import lines_of
from targets.session import CommandFailed, Session, TargetError
from targets.state import journal
from targets.state.policies import Policy, Wanted, chosen, held_khz, policies, settings_for
from targets.state.settings import AIRPLANE, CPUFREQ, QUIET_ANDROID, Setting, is_known, ordered, read, write
from targets.target import Target

Tier = Literal["pinned", "requested", "uncontrolled"]

TOLERANCE = 0.01
"""A clock this near to the one that was asked for is the one."""
CONFIRM_S = 1.0
"""How long a clock may take to get where it was sent."""
TRIES = 3
SHOWN = 3
"""Reasons that are told; more are counted."""
NOTHING = "no governor and no clock were asked for"
AGAIN_S = 0.5
"""An old value that does not read back at once is written again: a hot device may cap its clock for a moment."""


@dataclass(frozen=True, slots=True)
class Control:
    """How far the device's clock is under control, and what was changed for it."""

    tier: Tier
    """`pinned`: read back and seen to run so. `requested`: written, but not (all) confirmed. `uncontrolled`: as it was."""
    reason: str | None
    """Why it is not pinned."""
    settings: tuple[Setting, ...] = ()
    """Each with its value before, the one wanted, and what it read back as. Those that had the wanted value already are among them."""
    held_hz: tuple[tuple[str, int], ...] = ()
    """(policy, clock) of those that are held at one."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"held_hz": dict(self.held_hz)}


@contextlib.contextmanager
def tuned(
    session: Session, target: Target, wanted: Wanted, journals: Path, *, tell: Callable[[str], None] = lambda _: None
) -> Iterator[Control]:
    """The device as wanted, as far as it can be; as it was again afterwards.

    `journals`: the folder of this host that keeps what to restore. `tell` is given what a person should know of the way back.
    CommandFailed where no journal can be kept, with nothing changed, and where a setting cannot be put back.
    """
    if target.origin != "measured":
        yield Control("uncontrolled", f"what is {target.origin} has no clock of its own")
        return
    for remark in restore(session, target, journals):
        tell(remark)
    if not wanted:
        yield Control("uncontrolled", NOTHING)
        return
    try:
        yield _apply(session, target, wanted, journals)
    except BaseException as error:
        try:
            _replay(session, target, journals)
        except TargetError as left:
            # What ended the measurement matters more, a Ctrl-C most of all. The journal stays for the next connection.
            error.add_note(f"not restored yet: {left}")
        raise
    for remark in _replay(session, target, journals).remarks:
        tell(remark)


def restore(session: Session, target: Target, journals: Path) -> tuple[str, ...]:
    """Put back what a journal says was changed; remarks for a person. For who holds the device alone; again and again does no harm.

    CommandFailed where the device refuses an old value; the journal stays.
    """
    if target.origin != "measured":
        return ()
    done = _replay(session, target, journals)
    told = f"{target.name} was left tuned by an earlier run; put back as it was: {', '.join(done.restored)}"
    return (*done.remarks, *([told] if done.restored else []))


class _Replay(NamedTuple):
    remarks: tuple[str, ...]
    restored: tuple[str, ...] = ()
    """Names of settings."""


def _replay(session: Session, target: Target, journals: Path) -> _Replay:
    """The one way back."""
    found = journal.load(session, target, journals)
    if found.journal is None:
        return _Replay(found.remarks)
    now = read(session, target.sysfs, [setting.name for setting in found.journal.settings])
    # A setting that is gone went with its CPU; there is nothing to put back.
    moved = [s for s in found.journal.settings if now.get(s.name, s.before) != s.before]
    ours = tuple(dataclasses.replace(s, after=None) for s in moved if s.after is None or s.after == now[s.name])
    theirs = [s for s in moved if s.after is not None and s.after != now[s.name]]
    if ours:
        _put_back(session, target, journals, dataclasses.replace(found.journal, settings=ours))
    journal.clear(session, target, journals, found.journal)
    remarks = [f"{target.name}: another changed {s.name} meanwhile, from {s.after} to {now[s.name]}; left so" for s in theirs]
    return _Replay((*found.remarks, *remarks), tuple(setting.name for setting in ours))


def _put_back(session: Session, target: Target, journals: Path, kept: journal.Journal) -> None:
    # From here on each value is our doing, also one half restored. Where the disk is full the journal that is there must do.
    with contextlib.suppress(CommandFailed):
        journal.keep(session, target, journals, kept)
    for attempt in range(TRIES):
        if attempt:
            time.sleep(AGAIN_S)  # not to be interrupted
        now = read(session, target.sysfs, [setting.name for setting in kept.settings])
        left = {s.name: s.before for s in kept.settings if now.get(s.name) != s.before}
        refused = write(session, target.sysfs, ordered(left, now))
        now = read(session, target.sysfs, list(left))
        left = {name: value for name, value in left.items() if now.get(name) != value}
        if not left:
            return
    told = "; ".join(
        f"{name} is {now.get(name)}, not {value}{f' ({why})' if (why := refused.get(name)) else ''}"
        for name, value in left.items()
    )
    raise CommandFailed(
        f"target {target.name} is left tuned: {told}. Set these by hand, then delete {journal.places(target, journals)}"
    )


def _apply(session: Session, target: Target, wanted: Wanted, journals: Path) -> Control:
    """Journal, write, read back, look at the clock."""
    affected = chosen(policies(session, target.sysfs), wanted)
    able = [policy for policy in affected if policy.refusal(wanted) is None]
    complaints = [refusal for policy in affected if (refusal := policy.refusal(wanted))]
    values = settings_for(wanted, able)
    if _is_on_air(target) and values.pop(AIRPLANE, ""):
        complaints.append("airplane mode would cut the way to the device, and stays off")
    now = read(session, target.sysfs, list(values))
    complaints += [f"{name} reads as `{value}`: left alone" for name, value in now.items() if not is_known(name, value)]
    complaints += [f"{name} is not there" for name in values if name not in now and name.startswith(f"{CPUFREQ}/policy")]
    settings = tuple(Setting(name, now[name], value) for name, value in values.items() if is_known(name, now.get(name, "")))
    changes = {s.name: s.wanted for s in settings if s.before != s.wanted}
    refused: dict[str, str] = {}
    if changes:
        kept = journal.begin(session, target, journals, tuple(s for s in settings if s.name in changes))
        refused = write(session, target.sysfs, ordered(changes, now))
        now = read(session, target.sysfs, list(values))
        read_back = tuple(dataclasses.replace(s, after=now.get(s.name)) for s in kept.settings)
        journal.keep(session, target, journals, dataclasses.replace(kept, settings=read_back))
    settings = tuple(dataclasses.replace(s, after=now.get(s.name)) for s in settings)
    complaints += [
        f"{s.name} stays {s.after}, not {s.wanted}{f': {why}' if (why := refused.get(s.name)) else ''}"
        for s in settings
        if s.after != s.wanted
    ]
    if wanted.android and not any(setting.name in QUIET_ANDROID for setting in settings):
        complaints.append("no Android: there is nothing to keep quiet")
    return _judged(session, target, wanted, able, settings, complaints)


def _is_on_air(target: Target) -> bool:
    """Whether the device is reached over a network: an adb serial of a cable has neither a port nor a service's name."""
    over_cable = target.transport == "adb" and ":" not in target.address and "._tcp" not in target.address
    return target.transport != "local" and not over_cable


def _judged(
    session: Session, target: Target, wanted: Wanted, able: Sequence[Policy], settings: tuple[Setting, ...], complaints: list[str]
) -> Control:
    """The tier, from what was read back and from the clock itself."""
    if wanted.governor is None and wanted.frequency_hz is None:
        return Control("uncontrolled", _listed([NOTHING, *complaints]), settings)
    if not any(s.name.startswith(CPUFREQ) and s.after == s.wanted for s in settings):
        return Control("uncontrolled", _listed(complaints or ["no cpufreq: the clock cannot be set here"]), settings)
    now = read(session, target.sysfs, [p.setting(f"scaling_{end}_freq") for p in able for end in ("min", "max")])
    expected = {policy.name: held_khz(policy, wanted, now) for policy in able}
    held = {name: 1000 * khz for name, khz in expected.items() if khz is not None}
    complaints += [f"the governor {wanted.governor} lets the clock of {name} float" for name in expected if name not in held]
    if not complaints:
        complaints += _unconfirmed(session, target, held)
    return Control("requested" if complaints else "pinned", _listed(complaints) or None, settings, tuple(held.items()))


def _unconfirmed(session: Session, target: Target, held_hz: dict[str, int]) -> list[str]:
    """What each clock is instead, where the kernel does not show it to run as asked within a moment."""
    files = {name: f"{target.sysfs}/{CPUFREQ}/{name}/scaling_cur_freq" for name in held_hz}
    deadline = time.monotonic() + CONFIRM_S
    while True:
        lines = lines_of(session, list(files.values()))
        shown = {name: "".join(lines.get(file, [])[:1]).strip() for name, file in files.items()}
        wrong = {
            name: text
            for name, text in shown.items()
            if not text.isdigit() or abs(1000 * int(text) - held_hz[name]) > TOLERANCE * held_hz[name]
        }
        if not wrong or time.monotonic() > deadline:
            break
        interrupt.sleep(CONFIRM_S / 10)
    return [
        f"{name} was set to {held_hz[name] / 1e6:g} MHz and "
        + (f"runs at {int(text) / 1000:g}" if text.isdigit() else "the kernel does not show how fast it runs")
        for name, text in wrong.items()
    ]


def _listed(reasons: Sequence[str]) -> str:
    more = len(reasons) - SHOWN
    return "; ".join([*reasons[:SHOWN], *([f"and {more} more"] if more > 0 else [])])
