"""What a device's clocks can be set to, and what an operating point means for them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from targets.session import Session
from targets.state.policies import Policy, Wanted, chosen, held_khz, policies, settings_for
from targets.target import Target

LITTLE = Policy("policy0", (0, 1), ("ondemand", "performance"), (600_000, 1_500_000), 600_000, 1_500_000)
BIG = Policy("policy4", (4, 5), (), (), 800_000, 2_400_000)


def test_policies_are_read_with_steps_in_numeric_order(local_session: Session, local_device: Target, sys_tree: Any) -> None:
    sys_tree.put("scaling_available_frequencies", "1000000 999 1500000")
    sys_tree.path("scaling_available_frequencies", 4).unlink()  # then the counters say which steps there are
    first, second = policies(local_session, local_device.sysfs)
    assert (first.name, first.cpus, first.steps_khz) == ("policy0", (0, 1, 2, 3), (999, 1_000_000, 1_500_000))
    assert (second.name, second.cpus, second.steps_khz) == ("policy4", (4, 5), (1_000_000, 2_400_000))
    assert first.governors == ("ondemand", "performance", "schedutil", "powersave")
    assert (second.least_khz, second.most_khz) == (1_000_000, 2_400_000)


def test_what_a_driver_does_not_tell_is_empty(local_session: Session, local_device: Target, sys_tree: Any) -> None:
    for path in (*sys_tree.path("").iterdir(), *sys_tree.path("stats").iterdir()):
        if path.is_file():
            path.write_text("<unsupported>\n" if path.name != "scaling_available_governors" else "")
    assert policies(local_session, local_device.sysfs)[0] == Policy("policy0", (), (), (), 0, 0)


@pytest.mark.parametrize(
    ("policy", "wanted", "refusal"),
    [
        (LITTLE, Wanted("performance", 600_000_000), None),
        (LITTLE, Wanted("turbo"), "policy0 has no governor `turbo`, only ondemand, performance"),
        (LITTLE, Wanted(frequency_hz=1_000_000_000), "policy0 cannot be held at 1000 MHz, only at 600, 1500 MHz"),
        (BIG, Wanted("whatever", 1_234_000_000), None),
        (BIG, Wanted(frequency_hz=700_000_000), "policy4 cannot be held at 700 MHz: it goes from 800 to 2400"),
        (BIG, Wanted(frequency_hz=2_500_000_000), "policy4 cannot be held at 2500 MHz: it goes from 800 to 2400"),
        (dataclasses.replace(BIG, least_khz=0, most_khz=0), Wanted(frequency_hz=2_500_000_000), None),
    ],
)
def test_a_policy_says_what_it_cannot(policy: Policy, wanted: Wanted, refusal: str | None) -> None:
    assert policy.refusal(wanted) == refusal


def test_only_the_clocks_of_the_cpus_in_use_are_touched() -> None:
    both = (LITTLE, BIG)
    assert (
        chosen(both, Wanted()) == both and chosen(both, Wanted(cpus=(5,))) == (BIG,) and chosen(both, Wanted(cpus=(1, 4))) == both
    )
    unknown = dataclasses.replace(LITTLE, cpus=())
    assert chosen((unknown, BIG), Wanted(cpus=(4,))) == (unknown, BIG)


def test_a_clock_is_held_by_both_limits_without_boost() -> None:
    settings = settings_for(Wanted(frequency_hz=600_000_000), (LITTLE,))
    assert {name.rpartition("/")[2]: value for name, value in settings.items()} == {
        "scaling_min_freq": "600000", "scaling_max_freq": "600000", "boost": "0", "no_turbo": "1",
    }  # fmt: skip
    assert settings_for(Wanted("performance"), (LITTLE, BIG)) == {
        LITTLE.setting("scaling_governor"): "performance",
        BIG.setting("scaling_governor"): "performance",
    }
    assert settings_for(Wanted(frequency_hz=1), ()) == {}


def test_a_clock_is_known_by_the_frequency_or_a_steady_governor() -> None:
    now = {LITTLE.setting("scaling_max_freq"): "1500000", LITTLE.setting("scaling_min_freq"): "600000"}
    assert held_khz(LITTLE, Wanted(frequency_hz=600_000_000), {}) == 600_000
    assert held_khz(LITTLE, Wanted("performance"), now) == 1_500_000
    assert held_khz(LITTLE, Wanted("powersave"), now) == 600_000
    assert held_khz(LITTLE, Wanted("schedutil"), now) is None and held_khz(LITTLE, Wanted("performance"), {}) is None


@pytest.mark.parametrize(
    ("wanted", "is_something"), [(Wanted(), False), (Wanted(cpus=(1,)), False), (Wanted("x"), True), (Wanted(android=True), True)]
)
def test_affinity_alone_asks_nothing_of_the_clock(wanted: Wanted, is_something: bool) -> None:
    assert bool(wanted) == is_something
