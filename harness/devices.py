"""The devices at hand: one looked at and written into the inventory, all of them called to see which answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from harness import plugins
from targets.inventory import add_entry, check_is_new
from targets.probe import Probe, described, entry, probe
from targets.session import TargetError
from targets.target import Target
from targets.transports import connect

CALL_S = 5.0
"""How long a device may take to answer when only its state is asked."""
AT_ONCE = 16


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

    def call(target: Target) -> str:
        started = time.monotonic()
        try:
            with connect(replace(target, connect_s=min(target.connect_s, CALL_S))) as session:
                session.run(["true"], timeout_s=CALL_S)
        except TargetError as error:
            return str(error).removeprefix(f"target {target.name}: ")
        return f"ready, {1000 * (time.monotonic() - started):.0f} ms"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(targets, pool.map(call, targets.values()), strict=True))
