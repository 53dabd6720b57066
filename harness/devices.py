"""The devices at hand: one looked at and written into the inventory, all of them called to see which answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from harness import plugins
from targets.inventory import add_entry, check_is_new
from targets.probe import Probe, described, entry, probe
from targets.session import Session, TargetError
from targets.target import Target
from targets.transports import connect

CALL_S = 5.0
"""How long a device may take to answer when only its state is asked."""
AT_ONCE = 16
Said = TypeVar("Said")


@dataclass(frozen=True, slots=True)
class Added:
    """A new target, what was seen of it, and its entry as it was written."""

    target: Target
    probe: Probe
    entry: str


def add(path: Path, target: Target) -> Added:
    """Probe the device through its own transport and append its entry to the inventory; nothing is written if it does not answer."""
    check_is_new(path, target.name)
    wanted = sorted({name for backend in plugins.names("backends") for name in plugins.load("backends", backend).requires})
    with connect(target) as session:
        found = probe(session, wanted)
    target = described(target, found)
    text = entry(target, found)
    add_entry(path, target, text)
    return Added(target, found, text)


def states(targets: Mapping[str, Target]) -> dict[str, str]:
    """What each device answers when it is called: how long it took, or why it does not."""

    def state(session: Session, _: Target) -> str:
        session.run(["true"], timeout_s=CALL_S)
        return "ready"

    return {
        name: f"{answer.said}, {1000 * answer.took_s:.0f} ms" if answer.error is None else answer.error
        for name, answer in asked(targets, state).items()
    }


@dataclass(frozen=True, slots=True)
class Answer(Generic[Said]):
    """What a device said, and how long that took, connecting included; or why it said nothing."""

    said: Said | None
    error: str | None
    took_s: float


def asked(targets: Mapping[str, Target], question: Callable[[Session, Target], Said]) -> dict[str, Answer[Said]]:
    """Call all devices at once and put the question to each."""

    def ask(target: Target) -> Answer[Said]:
        started = time.monotonic()
        try:
            with connect(replace(target, connect_s=min(target.connect_s, CALL_S))) as session:
                said = question(session, target)
        except TargetError as error:
            return Answer(None, str(error).removeprefix(f"target {target.name}: "), time.monotonic() - started)
        return Answer(said, None, time.monotonic() - started)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(targets, pool.map(ask, targets.values()), strict=True))
