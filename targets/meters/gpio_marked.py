"""Another meter, whose clock is set beside the device's by edges: the device switches a line that the meter watches beside the power.

The line is switched a few times before and after all that is measured, by a program that looks at the device's clock before and after each time. So
each edge is a look at both clocks, as exact as the meter's sampling and the time to switch, and no way between the machines counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Gt, Le

from targets import meters
from targets.errors import UserError
from targets.meters import Recording, Silent
from targets.power.offset import Ping, are_of_one_clock, offset
from targets.power.trace import NoTrace, Trace
from targets.session import Session

Pairs = npt.NDArray[np.float64]

PULSES = 3
TIMEOUT_S = 60.0
SWITCH = """
import json, os, sys, time
pulses, pause = int(sys.argv[2]), float(sys.argv[3])
line = os.open(sys.argv[1], os.O_RDWR)
rest = os.pread(line, 16, 0).strip() or b"0"
other = b"1" if rest == b"0" else b"0"
marks = []
for level in [other, rest] * pulses:
    time.sleep(pause)
    before = time.monotonic()
    os.pwrite(line, level, 0)
    marks.append((before, time.monotonic()))
time.sleep(pause)
print(json.dumps(marks))
"""
"""Leaves the line as it was. Prints between which moments of the device's clock it was switched each time."""


@dataclass(frozen=True, slots=True)
class GpioMarked:
    """`gpio_marked: {file: /sys/class/gpio/gpio17/value, stream: {ppk2: {port: /dev/ttyACM0, volts: 3.3, input: 0}}}`."""

    file: str
    """On the device: 0 or 1 written to it switches the line (a GPIO that is set to output, an LED)."""
    stream: Mapping[str, Mapping[str, Any]]
    """A meter and its parameters, which name the digital input that the line is wired to: `ppk2`'s `input`, `serial_line`'s column `mark`."""
    pulse_s: Annotated[float, Gt(0), Le(10)] = 0.1
    """How long the line stays: longer than the meter takes from reading to reading."""
    tier: Literal["T1", "T2"] = "T2"
    """`T1` where that meter's calibration is valid."""

    def __post_init__(self) -> None:
        if len(self.stream) != 1:
            raise ValueError("stream: one meter, as `{ppk2: {port: ..., volts: ..., input: 0}}`")
        if not hasattr(self._meter, "window"):
            raise UserError(
                f"meter `gpio_marked`: {next(iter(self.stream))} is a model and watches no line; name a meter as `stream`"
            )

    @property
    def _meter(self) -> Any:
        ((name, parameters),) = self.stream.items()
        return meters.loaded(meters.spelled(name, parameters))

    @contextmanager
    def window(self, session: Session) -> Iterator[Recording]:
        if session.python == "none":
            yield Silent(NoTrace("gpio_marked: the line is switched by a Python program on the device, which has no Python"))
            return
        with self._meter.window(session) as recording:
            before = recording.trace if isinstance(recording, Silent) else self.marks(session)
            if isinstance(before, NoTrace):
                yield Silent(before)
                return
            marked = _Marked(self, session, recording, before)
            try:
                yield marked
            finally:
                marked.stop()

    def marks(self, session: Session) -> Pairs | NoTrace:
        """[2 * PULSES, 2] between which moments of the device's clock the line was switched."""
        argv = [session.python, "-S", "-E", "-c", SWITCH, self.file, str(PULSES), str(self.pulse_s)]
        done = session.run(argv, timeout_s=TIMEOUT_S + 2 * PULSES * self.pulse_s)
        try:
            marks = np.array(json.loads(done.stdout), np.float64)
        except (ValueError, TypeError):  # it says what went wrong, or what no program of ours would
            marks = np.empty(0)
        if done.exit_status == 0 and marks.shape == (2 * PULSES, 2) and (np.diff(marks.ravel()) >= 0).all():
            return marks
        said = done.stderr.decode("utf-8", "replace").strip()[-200:]
        return NoTrace(
            f"gpio_marked: {self.file} cannot be switched ({said}); set the line to output, and let this user write to it"
        )

    def aligned(self, trace: Trace, before: Pairs, after: Pairs) -> Trace | NoTrace:
        """The trace on the clock that its edges, and the device's marks at both ends, set it to."""
        made, seen = len(before) + len(after), len(trace.edges_s)
        if made != seen:
            return NoTrace(
                f"gpio_marked: the line was switched {made} times, and {trace.meter} saw {seen} edges; check the wire, and that "
                f"the stream names its input, or raise `pulse_s`"
            )
        first, last = pings(before, trace.edges_s[: len(before)]), pings(after, trace.edges_s[len(before) :])
        if not (are_of_one_clock(first) and are_of_one_clock(last)):
            return NoTrace(
                f"gpio_marked: the edges that {trace.meter} saw are not those that the device made; is the line used by another?"
            )
        facts = {**trace.facts, "stream": trace.meter, "edges": seen}
        return replace(trace, meter="gpio_marked", tier=self.tier, offset=offset(first, last), facts=facts)


METER = GpioMarked


class _Marked:
    """See `targets.meters.Recording`: of another, between marks."""

    def __init__(self, meter: GpioMarked, session: Session, recording: Recording, before: Pairs) -> None:
        self._meter, self._session, self._recording, self._before = meter, session, recording, before
        self._trace: Trace | NoTrace | None = None

    @property
    def trace(self) -> Trace | NoTrace:
        return self._trace or NoTrace("gpio_marked: the recording was not stopped")

    def stop(self) -> None:
        if self._trace is not None:
            return
        self._trace = NoTrace("gpio_marked: the line could not be switched at the end")
        after = self._meter.marks(self._session)
        self._recording.stop()
        trace = self._recording.trace
        if isinstance(after, NoTrace) or isinstance(trace, NoTrace):
            self._trace = after if isinstance(after, NoTrace) else trace
        else:
            self._trace = self._meter.aligned(trace, self._before, after)


def pings(marks: Pairs, edges_s: Pairs) -> Sequence[Ping]:
    """Of each mark [n, 2] and the edge [n, 2] that it made: the meter's clock around the middle of the switching on the device's."""
    return [
        Ping(seen_s[0] - (done_s - begun_s) / 2, (begun_s + done_s) / 2, seen_s[1] + (done_s - begun_s) / 2)
        for (begun_s, done_s), seen_s in zip(marks.tolist(), edges_s.tolist(), strict=True)
    ]
