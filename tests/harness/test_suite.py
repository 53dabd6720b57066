"""The nouns of a suite: how an operating point is named, and which device refuses it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.suite import OperatingPoint, cpu_label
from targets.target import Target


def test_a_device_refuses_what_it_cannot_be_run_at() -> None:
    pi = Target("pi", thread_counts=(1, 4), frequencies_hz=(600_000_000, 1_500_000_000))
    board = Target("board", origin="emulated")
    assert OperatingPoint(cpus=(3,), governor="performance", frequency_hz=600_000_000).refusal(pi) is None
    assert "by its `thread_counts` the last one is 3" in str(OperatingPoint(cpus=(4,)).refusal(pi))
    assert "its `frequencies_hz` are 600000000, 1500000000" in str(OperatingPoint(frequency_hz=1).refusal(pi))
    assert OperatingPoint(cpus=(7,), frequency_hz=1).refusal(Target("desk")) is None
    assert OperatingPoint(governor="performance").refusal(board) == "board is emulated: it has no clock to set"
    assert OperatingPoint(cpus=(0,)).refusal(board) is None


def test_a_point_is_named_by_what_the_suite_asks_for() -> None:
    assert OperatingPoint(2, cpus=(0, 1, 3)).labels == {
        "threads": "2", "batch": "1", "cpus": "0-1,3", "governor": "", "frequency_hz": "",
    }  # fmt: skip


@given(st.sets(st.integers(0, 40), min_size=1))
def test_a_label_of_cpus_names_each_of_them(cpus: set[int]) -> None:
    named: set[int] = set()
    for part in cpu_label(sorted(cpus)).split(","):
        first, _, last = part.partition("-")
        named |= set(range(int(first), int(last or first) + 1))
    assert named == cpus
