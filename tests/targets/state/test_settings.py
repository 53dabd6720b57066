"""Which settings may be written, how they are read, and the order in which the kernel takes them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.session import Session
from targets.state.settings import BOOST, NO_TURBO, QUIET_ANDROID, is_known, ordered, read, survives_reboot, write
from targets.target import Target

POLICY = "devices/system/cpu/cpufreq/policy3"
LOW, HIGH, GOVERNOR = f"{POLICY}/scaling_min_freq", f"{POLICY}/scaling_max_freq", f"{POLICY}/scaling_governor"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (LOW, "600000"),
        (HIGH, "1"),
        (GOVERNOR, "sched-dvfs"),
        (BOOST, "0"),
        (NO_TURBO, "1"),
        *QUIET_ANDROID.items(),
        ("android/global/x", "null"),
    ],
)
def test_what_is_changed_is_known(name: str, value: str) -> None:
    assert is_known(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "1"), ("/etc/passwd", "1"), (f"../{GOVERNOR}", "ondemand"), (f"{GOVERNOR}/../../x", "ondemand"), (f"x{GOVERNOR}", "ondemand"),
        (f"{GOVERNOR}\n", "ondemand"), (GOVERNOR, ""), (GOVERNOR, "a b"), (GOVERNOR, "a\n"), (GOVERNOR, "$(reboot)"), (LOW, "0"),
        (LOW, "-1"), (LOW, "99999999999"), (BOOST, "2"), ("android/battery", "set level 1"), ("android/secure/adb_enabled", "0"),
        ("devices/system/cpu/cpufreq/policy٣/scaling_governor", "x"),
        ("android/global/a;b", "1"), ("android/global/a", "x"), ("devices/system/cpu/cpu1/online", "0"),
    ],
)  # fmt: skip
def test_nothing_else_may_be_written(local_session: Session, local_device: Target, name: str, value: str) -> None:
    assert not is_known(name, value)
    with pytest.raises(ValueError, match="not settings"):
        write(local_session, local_device.sysfs, [(name, value)])


def test_only_androids_own_settings_survive_a_reboot() -> None:
    kept = {name for name in (*QUIET_ANDROID, GOVERNOR, LOW, BOOST) if survives_reboot(name)}
    assert kept == {name for name in QUIET_ANDROID if name.count("/") == 2}


def test_what_a_device_has_is_read_and_the_rest_left_out(session: Session, device: Target, sys_tree: Any) -> None:
    name = GOVERNOR.replace("policy3", "policy0")
    sys_tree.put("scaling_governor", "a=b \x07" + "x" * 999 + "\nsecond line")
    found = read(session, device.sysfs, [name, GOVERNOR, BOOST, NO_TURBO, "android/battery"])
    assert set(found) == {name, BOOST} and found[BOOST] == "1"
    assert found[name].startswith("a=b ?xxx") and len(found[name]) == 200
    assert read(session, device.sysfs, []) == {}


def test_what_a_device_refuses_is_told_and_the_rest_is_written(session: Session, device: Target, sys_tree: Any) -> None:
    name = GOVERNOR.replace("policy3", "policy0")
    refused = write(session, device.sysfs, [(GOVERNOR, "performance"), (name, "performance")])
    assert set(refused) == {GOVERNOR} and refused[GOVERNOR]
    assert sys_tree.get("scaling_governor") == "performance"


CLOCK = st.integers(1, 9)


@given(st.tuples(CLOCK, CLOCK).map(sorted), st.tuples(CLOCK, CLOCK).map(sorted))
def test_the_lower_limit_never_passes_the_upper_on_the_way(now: list[int], then: list[int]) -> None:
    state = {LOW: now[0], HIGH: now[1]}
    order = ordered({HIGH: str(then[1]), LOW: str(then[0])}, {name: str(value) for name, value in state.items()})
    for name, value in order:
        state[name] = int(value)
        assert state[LOW] <= state[HIGH]
    assert [state[LOW], state[HIGH]] == then


def test_clocks_are_compared_as_numbers_and_boost_comes_first() -> None:
    changes = {LOW: "1000000", HIGH: "1000000", GOVERNOR: "x", BOOST: "0"}
    assert [name for name, _ in ordered(changes, {LOW: "600000", HIGH: "900000"})] == [BOOST, GOVERNOR, HIGH, LOW]
    assert [name for name, _ in ordered(changes, {LOW: "1100000", HIGH: "1200000"})] == [BOOST, GOVERNOR, LOW, HIGH]
    assert [name for name, _ in ordered({HIGH: "5"}, {})] == [HIGH]
