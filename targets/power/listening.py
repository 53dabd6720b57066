"""An instrument on this machine, read by a thread while something is timed on the device; each reading carries this machine's clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from targets.meters import Recording, Silent
from targets.power import device_clock
from targets.power.arrivals import joined
from targets.power.device_clock import NoClock
from targets.power.offset import Ping, offset
from targets.power.trace import NoTrace, Trace
from targets.session import Session

T = TypeVar("T")

HERE = "CLOCK_MONOTONIC of the machine that Assay runs on"
FIRST_S = 10.0
"""An instrument that is read says something within it."""


class InstrumentError(Exception):
    """An instrument is missing, or failed. The message says what, where, and what to do; a recording of it ends as NoTrace."""


@dataclass(frozen=True, slots=True)
class Heard(Generic[T]):
    """What an instrument said, and between what moments of this machine's CLOCK_MONOTONIC."""

    asked_s: float
    got_s: float
    said: T


class Listening(Generic[T]):
    """See `targets.meters.Recording`: of an instrument that speaks."""

    def __init__(self, session: Session, to_trace: Callable[[Sequence[Heard[T]]], Trace]) -> None:
        self._session, self._to_trace = session, to_trace
        self._heard: list[Heard[T]] = []
        self._spoke, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._before: tuple[Ping, ...] = ()
        """Of the device's clock; none where it is ours."""
        self._trace: Trace | None = None
        self._failed = ""

    @property
    def trace(self) -> Trace | NoTrace:
        """Of what was heard until `stop`."""
        return self._trace or NoTrace(self._failed or "the recording was not stopped")

    def start(self, read: Callable[[], T | None]) -> None:
        """Returns at the first reading, so that nothing is timed before it. InstrumentError where none comes."""
        if not device_clock.is_ours(self._session):
            self._before = device_clock.pings(self._session)
        self._thread = threading.Thread(target=self._listen, args=(read,), name="assay-meter", daemon=True)
        self._thread.start()
        if not self._spoke.wait(FIRST_S):
            self._ended.set()
            self._failed = f"the instrument said nothing for {FIRST_S:g} s; is it switched on, and set to send?"
        if self._failed:
            self._thread.join()
            raise InstrumentError(self._failed)

    def stop(self) -> None:
        """Once and for all."""
        if self._ended.is_set():
            return
        self._ended.set()
        if self._thread is not None:
            self._thread.join()  # every `read` has a time limit of its own
        if self._failed:
            return
        try:
            trace = self._to_trace(self._heard)
            ours = offset(self._before, device_clock.pings(self._session)) if self._before else None
        except (InstrumentError, NoClock) as error:
            self._failed = str(error)
        else:
            self._trace = replace(trace, offset=joined(trace.offset, ours))

    def _listen(self, read: Callable[[], T | None]) -> None:
        try:
            while not self._ended.is_set():
                asked_s = time.monotonic()
                said = read()
                if said is not None:
                    self._heard.append(Heard(asked_s, time.monotonic(), said))
                    self._spoke.set()
        except InstrumentError as error:
            self._failed = str(error)
        finally:
            self._spoke.set()


@contextmanager
def listening(
    session: Session, opened: AbstractContextManager[Callable[[], T | None]], to_trace: Callable[[Sequence[Heard[T]]], Trace]
) -> Iterator[Recording]:
    """A recording of the instrument that is opened here, and closed at the end.

    `opened` gives what reads it once: waits a tenth of a second or so, and gives None where nothing was said meanwhile.
    What goes wrong with it, InstrumentError, becomes NoTrace: nothing that is timed meanwhile fails by it.
    """
    with ExitStack() as stack:
        recording = Listening(session, to_trace)
        try:
            recording.start(stack.enter_context(opened))
        except (InstrumentError, NoClock) as error:
            yield Silent(NoTrace(str(error)))
            return
        try:
            yield recording
        finally:
            recording.stop()
            with suppress(InstrumentError, OSError):  # all that it says has been read, and it may be gone
                stack.close()
