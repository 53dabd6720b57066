"""The device's clock, asked of this machine as of any other: by Python, and by a shell where there is no Python."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from targets.here import LocalSession
from targets.power import device_clock
from targets.power.device_clock import NoClock
from targets.session import Session
from targets.target import Target
from targets.transports import connect


@pytest.fixture
def here() -> Iterator[Session]:
    with connect(Target("local")) as session:
        yield session


def test_the_clock_of_this_machine_is_known_as_ours(here: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert device_clock.is_ours(here)
    monkeypatch.setattr(device_clock, "BOOT_ID", str(tmp_path / "absent"))
    assert not device_clock.is_ours(here)


@pytest.mark.parametrize("python", ["", "none"])
def test_a_ping_holds_the_truth_between_its_two_looks(python: str) -> None:
    with connect(Target("local", python=python)) as session:
        before_s = time.monotonic()
        ping = device_clock.ping(session)
        after_s = time.monotonic()
    half_s = device_clock.UPTIME_STEP_S if python else 0.0
    assert before_s - half_s <= ping.sent_s <= ping.device_s <= ping.received_s <= after_s + half_s


def test_there_are_several_pings(here: Session) -> None:
    assert len(device_clock.pings(here)) == device_clock.PINGS


def test_a_device_that_has_slept_and_one_that_does_not_answer_have_no_clock(
    here: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(here, LocalSession)
    with pytest.raises(NoClock, match="does not tell"):
        device_clock.ping(replace(here, python="/no/such/python"))
    monkeypatch.setattr(device_clock, "UPTIME", "echo 3 100.25")
    with pytest.raises(NoClock, match="has slept"):
        device_clock.ping(replace(here, python="none"))
