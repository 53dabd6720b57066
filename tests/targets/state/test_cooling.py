"""The wait for a cool device, on a clock that moves only when it sleeps."""

from __future__ import annotations

from typing import Any

import pytest

from targets.now import state
from targets.session import Session
from targets.state import Cooling, cooled
from targets.target import Target

Tree = Any


class Clock:
    """Its tree cools by one degree every ten seconds slept."""

    def __init__(self, tree: Tree, milli_celsius: int) -> None:
        self.tree, self.now_s, self.milli_celsius = tree, 0.0, milli_celsius
        self.sleep(0)

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.milli_celsius -= int(100 * seconds)
        self.tree.place("class/thermal/thermal_zone0/temp", str(self.milli_celsius))


@pytest.mark.parametrize(
    ("begins", "limit_s", "expected"),
    [
        (50_000, 600, Cooling(50, 0)),
        (51_000, 600, Cooling(51, 0)),
        (60_000, 600, Cooling(51, 90)),
        (60_000, 42, Cooling(55.8, 42, "cpu-thermal is at 56 °C, at first it was at 48, after 42 s of waiting")),
    ],
)
def test_it_waits_for_the_temperature_it_began_with(
    local_session: Session, local_device: Target, sys_tree: Tree, begins: int, limit_s: float, expected: Cooling
) -> None:
    baseline = state(local_session, sysfs=local_device.sysfs)
    clock = Clock(sys_tree, begins)
    found = cooled(local_session, local_device, baseline, limit_s=limit_s, clock=clock, sleep=clock.sleep)
    assert found == expected


def test_it_waits_for_what_the_inventory_allows(sys_tree: Tree, local_session: Session, local_device: Target) -> None:
    clock = Clock(sys_tree, 71_000)
    limited = local_device.__class__("x", sysfs=local_device.sysfs, max_celsius=70)
    assert cooled(local_session, limited, clock=clock, sleep=clock.sleep) == Cooling(70, 10)
    clock = Clock(sys_tree, 90_000)
    found = cooled(local_session, limited, limit_s=10, clock=clock, sleep=clock.sleep)
    assert found.reason == "cpu-thermal is at 89 °C, the inventory allows 70, after 10 s of waiting"


def test_without_a_sensor_or_anything_to_hold_it_against_there_is_no_wait(
    sys_tree: Tree, local_session: Session, local_device: Target
) -> None:
    clock = Clock(sys_tree, 99_000)
    assert cooled(local_session, local_device, clock=clock, sleep=clock.sleep) == Cooling(99, 0)
    baseline = {"temperatures": [{"sensor": "another", "type": "x", "celsius": 20.0}]}
    assert cooled(local_session, local_device, baseline, clock=clock, sleep=clock.sleep) == Cooling(99, 0)
    (sys_tree.root / "class/thermal/thermal_zone0/temp").unlink()
    assert cooled(local_session, local_device, baseline, clock=clock, sleep=clock.sleep) == Cooling(None, 0)
