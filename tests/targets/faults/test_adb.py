"""The same over ADB: what dies there is adbd, and the adb server of this machine stands between."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from results.record import Record

if TYPE_CHECKING:
    Ordeal = Any
    Sound = Callable[[Ordeal, Sequence[Record]], None]

pytestmark = [pytest.mark.torch, pytest.mark.peers]

RUN_S = 3.0
"""About as long as the undisturbed run takes."""


@pytest.mark.parametrize("fault", ["cut_sessions", "reboot"])
def test_an_adbd_that_dies_and_comes_back_costs_an_attempt(adb_ordeal: Ordeal, sound: Sound, fault: str, seed: int) -> None:
    records = adb_ordeal.run(getattr(adb_ordeal.machine, fault), random.Random(seed).uniform(0, RUN_S))
    sound(adb_ordeal, records)
    assert {record.status for record in records} == {"ok"}
    assert all(len(record.provenance["voided"]) == record.attempt - 1 for record in records)


def test_a_cable_pulled_for_a_moment_or_for_good(adb_ordeal: Ordeal, sound: Sound, seed: int) -> None:
    """adb's server knows nothing of a cable: the watch is asked, and its silence tells."""
    rng, machine = random.Random(seed), adb_ordeal.machine
    mends = bool(seed % 2)

    def pull() -> None:
        machine.cut()
        if mends:
            time.sleep(rng.uniform(0.1, 3))
            machine.mend()

    records = adb_ordeal.run(pull, rng.uniform(0, RUN_S))
    assert {record.status for record in records} <= {"ok", "unreachable"}
    machine.mend()
    records = adb_ordeal.run()
    sound(adb_ordeal, records)
    assert {record.status for record in records} == {"ok"}
