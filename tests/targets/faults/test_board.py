"""What happens to a whole emulated board: its kernel reboots, its QEMU is killed. It comes back with a new boot id and an empty disk."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from results.record import Record

if TYPE_CHECKING:
    Ordeal = Any
    Sound = Callable[[Ordeal, Sequence[Record]], None]

pytestmark = [pytest.mark.torch, pytest.mark.peers]

RUN_S = 8.0
"""About as long as the undisturbed run takes on an idle machine."""


@pytest.mark.parametrize("fault", ["reboot", pytest.param("kill", marks=pytest.mark.nightly)])
def test_a_board_that_went_down_leaves_records_and_is_measured_when_it_is_up(
    board_ordeal: Ordeal, sound: Sound, fault: str, seed: int
) -> None:
    machine = board_ordeal.machine
    records = board_ordeal.run(getattr(machine, fault), random.Random(seed).uniform(0, RUN_S))
    assert {record.status for record in records} <= {"ok", "invalid", "unreachable"}
    assert all(len(record.provenance["voided"]) == record.attempt - 1 for record in records if record.status == "ok")
    machine.mend()
    records = board_ordeal.run()
    sound(board_ordeal, records)
    assert {record.status for record in records} == {"ok"}
