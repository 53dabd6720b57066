"""An instrument made of a function: what is heard, what fails, and how its clock is set beside the device's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from targets.meters import Silent
from targets.power import device_clock, listening
from targets.power.listening import HERE, Heard, InstrumentError
from targets.power.offset import Ping
from targets.power.trace import Channel, NoTrace, Trace
from targets.session import Session
from targets.target import Target
from targets.transports import connect


@pytest.fixture
def here() -> Iterator[Session]:
    with connect(Target("local")) as session:
        yield session


def as_trace(heard: Sequence[Heard[float]]) -> Trace:
    times = np.array([one.got_s for one in heard])
    return Trace("m", "T2", "measured", HERE, times, np.array([[one.said] for one in heard]), (Channel("p", "W"),), None, None)


@contextmanager
def opened(read: Callable[[], float | None]) -> Iterator[Callable[[], float | None]]:
    yield read


def slow() -> float:
    time.sleep(0.01)
    return 2.0


def test_what_is_heard_until_the_stop_is_the_trace(here: Session) -> None:
    with listening.listening(here, opened(slow), as_trace) as recording:
        time.sleep(0.1)
        recording.stop()
        first = recording.trace
        recording.stop()
    assert isinstance(first, Trace) and recording.trace is first
    assert (first.values == 2).all() and len(first.time_s) >= 2 and first.offset is None, "the device is this machine"


def test_a_recording_has_begun_before_its_body_runs(here: Session) -> None:
    with listening.listening(here, opened(slow), as_trace) as recording:
        begun_s = time.monotonic()
    assert isinstance(recording.trace, Trace) and recording.trace.time_s[0] <= begun_s


def test_the_devices_clock_is_asked_before_and_after(here: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose clock shows 1000 s more than ours, and whose answers take 20 ms."""

    def ping(session: Session) -> Ping:
        now_s = time.monotonic()
        return Ping(now_s - 0.01, now_s + 1000, now_s + 0.01)

    monkeypatch.setattr(device_clock, "is_ours", lambda session: False)
    monkeypatch.setattr(device_clock, "ping", ping)
    with listening.listening(here, opened(slow), as_trace) as recording:
        time.sleep(0.05)
    trace = recording.trace
    assert isinstance(trace, Trace) and trace.offset is not None
    assert abs(trace.offset.seconds - 1000) <= trace.offset.uncertainty_s == pytest.approx(0.01)


def test_an_instrument_that_cannot_be_opened_is_silent(here: Session) -> None:
    @contextmanager
    def closed() -> Iterator[Callable[[], float]]:
        raise InstrumentError("no such port")
        yield slow

    with listening.listening(here, closed(), as_trace) as recording:
        pass
    assert isinstance(recording, Silent) and recording.trace == NoTrace("no such port")


def test_an_instrument_that_says_nothing_is_silent(here: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "FIRST_S", 0.05)
    with listening.listening(here, opened(lambda: time.sleep(0.01)), as_trace) as recording:
        pass
    assert isinstance(recording, Silent) and "said nothing" in recording.trace.reason


def test_an_instrument_that_fails_later_leaves_no_trace_and_harms_nothing(here: Session) -> None:
    answers = iter([1.0, 1.0])

    def read() -> float:
        try:
            return next(answers)
        except StopIteration:
            raise InstrumentError("unplugged") from None

    with listening.listening(here, opened(read), as_trace) as recording:
        time.sleep(0.05)
    assert recording.trace == NoTrace("unplugged")


def test_what_cannot_be_made_a_trace_has_its_reason(here: Session) -> None:
    def never(heard: Sequence[Heard[float]]) -> Trace:
        raise InstrumentError("garbled")

    with listening.listening(here, opened(slow), never) as recording:
        pass
    assert recording.trace == NoTrace("garbled")


def test_the_bodys_own_errors_go_on_and_the_instrument_is_closed(here: Session) -> None:
    closed: list[bool] = []

    @contextmanager
    def instrument() -> Iterator[Callable[[], float]]:
        yield slow
        closed.append(True)

    with pytest.raises(ZeroDivisionError), listening.listening(here, instrument(), as_trace):
        raise ZeroDivisionError
    assert closed == [True]
