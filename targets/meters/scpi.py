"""A bench instrument that speaks SCPI, by PyVISA: a source or analyzer in Keysight's dialect, a power meter in Yokogawa's, or one by its own query."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt

from targets.meters import Recording
from targets.power.listening import HERE, Heard, InstrumentError, listening
from targets.power.trace import Channel, Offset, Tier, Trace
from targets.session import Session


@dataclass(frozen=True, slots=True)
class Dialect:
    """What an instrument is told before, asked again and again, and told after; `{channel}` and `{update_ms}` are filled in."""

    setup: tuple[str, ...]
    query: str
    end: tuple[str, ...] = ()
    errors: str = "SYST:ERR?"
    joules: float | None = None
    """In one of what it counts; None: it says watts."""
    is_latest: bool = False
    """It answers at once, with the last value of a regular update; otherwise it measures between question and answer."""


_YOKOGAWA = (":RATE {update_ms:g}MS", ":NUM:FORM ASC", ":NUM:NORM:NUM 1")
DIALECTS: Mapping[str, Dialect] = {
    "keysight": Dialect((), "MEAS:POW? (@{channel})"),
    "yokogawa": Dialect((*_YOKOGAWA, ":NUM:NORM:ITEM1 P,{channel}"), ":NUM:NORM:VAL?", (), ":STAT:ERR?", None, True),
    "yokogawa_energy": Dialect(
        (*_YOKOGAWA, ":NUM:NORM:ITEM1 WH,{channel}", ":INTEG:MODE NORM", ":INTEG:RES", ":INTEG:STAR"),
        ":NUM:NORM:VAL?",
        (":INTEG:STOP",),
        ":STAT:ERR?",
        3600.0,
        True,
    ),
}
"""Keysight N6700/N6705 programmer's reference, MEASure; Yokogawa WT300E communication interface manual, NUMeric and INTEGrate groups."""
LEAST_OVERFLOW, LEAST_NOTHING = 9.9e37, 9.905e37
"""9.9E37 and 9.91E37 are how SCPI-99 (7.2.1.4) writes infinity and no value; Yokogawa writes INF and NAN."""
LIMIT_S = 2.0
PROMPT, PROMPT_S = 4.0, 0.01
"""An answer that takes so many times as long as is usual, and longer than this, was held up on its way."""


@dataclass(frozen=True, slots=True)
class Scpi:
    """Asked `rate_hz` times a second; a reading counts as taken in the middle of question and answer, or of the update before them."""

    resource: str
    """As VISA names it: `TCPIP::192.0.2.7::5025::SOCKET`, `USB0::0x0957::0x0F07::MY1::INSTR`."""
    dialect: Literal["keysight", "yokogawa", "yokogawa_energy"] = "keysight"
    query: str = ""
    """Asked instead of the dialect's; its answer is in watts."""
    channel: Annotated[int, Ge(1)] = 1
    rate_hz: Annotated[float, Gt(0)] = 10.0
    update_s: Annotated[float, Gt(0)] = 0.1
    """Yokogawa's: 0.1, 0.25, 0.5, 1, 2, 5."""
    range_w: tuple[float, float] | None = None
    uncertainty: Annotated[float, Ge(0)] = 0.0
    library: str = "@py"
    """VISA's: `@py` is PyVISA-py's; empty: the maker's that is installed."""

    tier: ClassVar[Tier] = "T2"

    def window(self, session: Session) -> AbstractContextManager[Recording]:
        about: dict[str, str] = {}
        return listening(session, self._opened(about), lambda heard: self._trace(heard, about))

    @property
    def _speaks(self) -> Dialect:
        return Dialect((), self.query) if self.query else DIALECTS[self.dialect]

    @contextmanager
    def _opened(self, about: dict[str, str]) -> Iterator[Callable[[], float]]:
        """`about` takes what the instrument says that it is."""
        try:
            import pyvisa
        except ImportError:
            raise InstrumentError("scpi needs PyVISA: pip install 'assay[meters]'") from None
        speaks, words = self._speaks, {"channel": self.channel, "update_ms": 1000 * self.update_s}
        due_s = time.monotonic()

        def asked(question: str) -> str:
            try:
                answer: str = instrument.query(question)
            except (pyvisa.Error, OSError) as error:
                raise InstrumentError(f"scpi: {self.resource} does not answer {question!r} ({error})") from None
            return answer.strip()

        def read() -> float:
            nonlocal due_s
            time.sleep(max(0.0, due_s - time.monotonic()))
            due_s = max(due_s + 1 / self.rate_hz, time.monotonic())
            answer = asked(query)
            try:
                return float(answer.split(",")[0])
            except ValueError:
                raise InstrumentError(f"scpi: {self.resource} answers {query!r} by {answer[:80]!r}, which is no number") from None

        query = speaks.query.format(**words)
        with self._resource(pyvisa) as instrument:
            about["instrument"] = asked("*IDN?")
            for line in speaks.setup:
                instrument.write(line.format(**words))
            read()
            error = asked(speaks.errors)
            if not error.lstrip("+").startswith("0"):
                raise InstrumentError(f"scpi: {about['instrument']} objects: {error}; check `dialect` and `channel`")
            yield read
            for line in speaks.end:
                instrument.write(line)

    @contextmanager
    def _resource(self, pyvisa: Any) -> Iterator[Any]:
        try:
            rooms = pyvisa.ResourceManager(self.library)
            with rooms.open_resource(
                self.resource, read_termination="\n", write_termination="\n", timeout=1000 * LIMIT_S
            ) as instrument:
                yield instrument
        except (pyvisa.Error, OSError, ValueError) as error:
            raise InstrumentError(
                f"scpi: {self.resource} cannot be opened ({error}); `pyvisa-info` says what VISA finds"
            ) from None

    def _trace(self, heard: Sequence[Heard[float]], about: Mapping[str, str]) -> Trace:
        took_s = [one.got_s - one.asked_s for one in heard]
        limit_s = min(1 / self.rate_hz, max(PROMPT_S, PROMPT * float(np.median(took_s))))
        timely = [
            one for one, s in zip(heard, took_s, strict=True) if s <= limit_s
        ]  # of the others nobody knows when they were taken
        kept = [one for one in timely if not _is_nothing(one.said)]
        if not kept:
            raise InstrumentError(f"scpi: {len(heard)} answers of {self.resource}, none of them a value in time; lower `rate_hz`")
        lag_s = self.update_s if self._speaks.is_latest else 0.0
        late_s = max(one.got_s - one.asked_s for one in kept) / 2 + lag_s / 2
        return Trace(
            "scpi",
            self.tier,
            "measured",
            HERE,
            np.array([(one.asked_s + one.got_s) / 2 - lag_s for one in kept]),
            np.array([[self._value(one.said)] for one in kept]),
            (Channel("power", "W") if self._speaks.joules is None else Channel("energy", "J"),),
            self.rate_hz,
            self.range_w,
            len(heard) - len(kept),
            self.uncertainty,
            Offset(0.0, late_s),
            dict(about),
        )

    def _value(self, said: float) -> float:
        if math.isfinite(said) and abs(said) < LEAST_OVERFLOW:
            return said * (self._speaks.joules or 1.0)
        if self.range_w is None:
            raise InstrumentError(f"scpi: {self.resource} was overloaded; choose a larger range there")
        return self.range_w[1] if said > 0 else self.range_w[0]


METER = Scpi


def _is_nothing(said: float) -> bool:
    return math.isnan(said) or (math.isfinite(said) and abs(said) >= LEAST_NOTHING)
