"""Any meter that writes a line for each reading to a serial port: a current sensor on a microcontroller, an LPM01A, a logger of one's own."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt

from targets.meters import Recording
from targets.power.arrivals import offset_of_arrivals
from targets.power.listening import HERE, Heard, InstrumentError, listening
from targets.power.offset import edges
from targets.power.trace import Channel, Tier, Trace
from targets.session import Session

Floats = npt.NDArray[np.float64]
Column = Literal[
    "time_s", "time_ms", "time_us", "power_w", "power_mw", "power_uw", "voltage_v", "voltage_mv", "current_a", "current_ma", "current_ua",
    "energy_j", "energy_mj", "energy_uj", "count", "mark", "-",
]  # fmt: skip
FACTORS: Mapping[str, float] = {"s": 1, "w": 1, "v": 1, "a": 1, "j": 1, "m": 1e-3, "u": 1e-6}
"""By the first letter of a column's unit."""
SEPARATORS = re.compile(r"[,;\s]+")
TICKS = float(1 << 32)
"""Where `micros()` and `millis()` begin again."""
COUNTERS = (1 << 8, 1 << 16, 1 << 32)
"""Where counters of readings do."""
WAIT_S = 0.1
LONGEST_LINE = 4096
MOST_GARBLED = 0.1
"""Of the lines: with more of them it is the wrong baud rate, or the wrong columns."""


@dataclass(frozen=True, slots=True)
class SerialLine:
    """What the lines hold is said by `columns`; with voltage and current the power is their product.

    Without a column of time, readings are `rate_hz` apart; without that, they were taken when they arrived.
    """

    port: str
    """`/dev/serial/by-id/...` stays the same over reboots."""
    columns: tuple[Column, ...] = ("time_us", "power_mw")
    """`-`: of no interest. `count`: of readings, so that lost ones are seen. `mark`: the level of a digital input, for `gpio_marked`."""
    baud: Annotated[int, Gt(0)] = 115200
    start: str = ""
    """A line that makes it begin, and one that makes it end."""
    stop: str = ""
    rate_hz: Annotated[float, Gt(0)] | None = None
    range_w: tuple[float, float] | None = None
    wraps_at_j: Annotated[float, Ge(0)] = 0.0
    """Where its energy begins again at 0; 0: never."""
    uncertainty: Annotated[float, Ge(0)] = 0.0
    tier: Tier = "T2"

    def __post_init__(self) -> None:
        quantities = sorted(column.partition("_")[0] for column in self.columns if column not in ("-", "count", "mark"))
        if [q for q in quantities if q != "time"] not in (["power"], ["energy"], ["current", "voltage"]):
            raise ValueError("columns: one of power, one of energy, or one of voltage and one of current")
        if quantities.count("time") > 1 or max(self.columns.count(once) for once in ("count", "mark")) > 1:
            raise ValueError("columns: at most one of time, one `count` and one `mark`")

    def window(self, session: Session) -> AbstractContextManager[Recording]:
        return listening(session, self._opened(), self._trace)

    @contextmanager
    def _opened(self) -> Iterator[Callable[[], bytes | None]]:
        try:
            import serial
        except ImportError:
            raise InstrumentError("serial_line needs pyserial: pip install 'assay[meters]'") from None

        def read() -> bytes | None:
            try:
                return port.read(max(1, port.in_waiting)) or None
            except OSError as error:
                raise InstrumentError(f"serial_line: {self.port} broke off ({error}); check its cable") from None

        try:
            with serial.Serial(self.port, self.baud, timeout=WAIT_S, write_timeout=1.0, exclusive=True) as port:
                port.reset_input_buffer()
                if self.start:
                    port.write(f"{self.start}\n".encode())
                yield read
                if self.stop:
                    port.write(f"{self.stop}\n".encode())
        except OSError as error:
            hint = "which there are: ls /dev/serial/by-id; who may use them: group dialout"
            raise InstrumentError(f"serial_line: {self.port} cannot be opened ({error}); {hint}") from None

    def _trace(self, heard: Sequence[Heard[bytes]]) -> Trace:
        arrived_s, rows = self._rows(heard)
        whole = ~np.isnan(rows).any(axis=1)
        if not whole.any() or (~whole).mean() > MOST_GARBLED:
            raise InstrumentError(
                f"serial_line: {(~whole).sum()} of {len(rows)} lines are no readings; check `baud` and `columns`"
            )
        arrived_s, rows, index = arrived_s[whole], rows[whole], np.flatnonzero(whole).astype(np.float64)
        said = {column.partition("_")[0]: rows[:, i] * _factor(column) for i, column in enumerate(self.columns)}
        if "count" in said:
            index = _rising(said["count"], next((c for c in COUNTERS if c > said["count"].max()), 0), "its count of readings")
        own_s = self._time(said, index)
        time_s = arrived_s if own_s is None else own_s
        return Trace(
            "serial_line",
            self.tier,
            "measured",
            HERE if own_s is None else "its own",
            time_s,
            self._values(said)[:, None],
            (Channel("energy", "J") if "energy" in said else Channel("power", "W"),),
            self.rate_hz,
            self.range_w,
            int(index[-1] - index[0]) + 1 - len(index),
            self.uncertainty,
            None if own_s is None else offset_of_arrivals(own_s, arrived_s),
            {"lines": len(rows), "garbled": int((~whole).sum())},
            edges_s=edges(time_s, said["mark"]) if "mark" in said else np.empty((0, 2)),
        )

    def _time(self, said: Mapping[str, Floats], index: Floats) -> Floats | None:
        """On the meter's own clock; None where it has none."""
        ticks = next((column for column in self.columns if column.startswith("time_")), "")
        if ticks:
            return _rising(said["time"], 0 if ticks == "time_s" else TICKS * _factor(ticks), "its clock")
        return None if self.rate_hz is None else index / self.rate_hz

    def _values(self, said: Mapping[str, Floats]) -> Floats:
        if "energy" in said:
            return _rising(said["energy"], self.wraps_at_j, "its energy")
        return said["power"] if "power" in said else said["voltage"] * said["current"]

    def _rows(self, heard: Sequence[Heard[bytes]]) -> tuple[Floats, Floats]:
        """When each line arrived [n], and its numbers [n, columns]; NaN where it is garbled."""
        lines, rest = list[tuple[float, bytes]](), b""
        for piece in heard:
            *ended, rest = (rest + piece.said).split(b"\n")
            lines += [(piece.got_s, line.strip()) for line in ended]
            if len(rest) > LONGEST_LINE:
                raise InstrumentError(f"serial_line: {len(rest)} bytes without an end of line; check `baud`")
        said = [
            (at_s, line) for at_s, line in lines[1:] if line and not line.startswith(b"#")
        ]  # the first may be but a line's end
        rows = [self._numbers(line) for _, line in said]
        return np.array([at_s for at_s, _ in said]), np.array(rows, dtype=np.float64).reshape(-1, len(self.columns))

    def _numbers(self, line: bytes) -> list[float]:
        words = [word for word in SEPARATORS.split(line.decode("ascii", "replace")) if word]
        try:
            numbers = [0.0 if column == "-" else float(word) for column, word in zip(self.columns, words, strict=True)]
        except ValueError:
            numbers = [math.nan]
        return numbers if all(map(math.isfinite, numbers)) else [math.nan] * len(self.columns)


METER = SerialLine


def _factor(column: str) -> float:
    return FACTORS.get(column.partition("_")[2][:1], 1.0)


def _rising(values: Floats, period: float, what: str) -> Floats:
    """A counter that begins again at `period` (0: never) as one that does not; InstrumentError where it falls all the same."""
    unwrapped: Floats = np.unwrap(values, period=period) if period else values
    if (np.diff(unwrapped) < 0).any():
        raise InstrumentError(
            f"serial_line: {what} went backwards: the meter was started anew, or lines were lost; measure again"
        )
    return unwrapped
