"""A target is plain data: it travels through JSON to a build step and back, and can be a key."""

from __future__ import annotations

import dataclasses
import json

import pytest

from targets.target import Target


def test_a_name_alone_is_this_machine() -> None:
    target = Target("local")
    assert (target.transport, target.kind, target.host, target.origin) == ("local", "cpu", "localhost", "measured")
    assert (target.isa, target.address, target.work_dir, target.python) == ("", "", "", "")


def test_it_survives_json_but_for_its_lists() -> None:
    target = Target("board", cpu="cortex_a72", meters=("ina226",), tags=("arm",))
    document = json.loads(json.dumps(dataclasses.asdict(target)))
    lists = {key: tuple(value) for key, value in document.items() if isinstance(value, list)}
    assert set(lists) == {"meters", "tags", "thread_counts", "frequencies_hz", "power_cycle"}
    assert Target(**{**document, **lists}) == target


def test_the_physical_host_is_the_address_unless_it_is_named() -> None:
    assert Target("a", transport="ssh", address="board").host == "board"
    assert Target("a", transport="ssh", address="127.0.0.1", host="localhost").host == "localhost"


def test_what_an_emulator_cannot_tell_is_said_with_the_reason() -> None:
    assert (Target("a").no_time, Target("a").no_memory) == ("", "")
    assert Target("a", counts_instructions=True).no_time == "", "a real core may count, too"
    board = Target("a", transport="ssh", origin="emulated", counts_instructions=True)
    assert "tells no time" in board.no_time and board.no_memory == ""
    user_mode = Target("a", transport="qemu", isa="aarch64", counts_instructions=True)
    assert "time of its own" in user_mode.no_time and "emulator" in user_mode.no_memory
    assert (user_mode.counted_by, "perf_event_open" in board.counted_by) == ("by the emulator", True)


def test_it_is_frozen_and_hashable() -> None:
    assert len({Target("a"), Target("a"), Target("b")}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Target("a").host = "other"  # type: ignore[misc]
