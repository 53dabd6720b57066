"""Nordic's Power Profiler Kit II: 100,000 samples of a small device's current a second, by its maker's protocol (`ppk2-api`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from targets.meters import Recording
from targets.power.arrivals import offset_of_arrivals
from targets.power.blocks import means
from targets.power.listening import Heard, InstrumentError, listening
from targets.power.offset import edges
from targets.power.trace import Channel, Tier, Trace
from targets.session import Session

Words = npt.NDArray[np.uint32]

SAMPLES_HZ = 100_000
MOST_A = 1.0
"""In its largest range."""
COUNTER_BIT, COUNTER_ROUND, INPUTS_BIT = 18, 64, 24
"""Of a sample's 32 bits: 14 of the converter, 3 of the range, 1 unused, a counter of samples in 6, and 8 inputs (pc-nrfconnect-ppk, serialDevice)."""
PAUSE_S = 0.001
SILENCE_S = 2.0
"""It sends without a pause: who hears nothing for so long was not merely busy."""


@dataclass(frozen=True, slots=True)
class Ppk2:
    """Power is its current times the supply's voltage, averaged over `SAMPLES_HZ / rate_hz` samples each, which changes no energy."""

    port: str
    volts: Annotated[float, Ge(0.8), Le(5.0)]
    """What the device is supplied with."""
    supplies: bool = False
    """By the kit itself (source meter); otherwise it sits in another supply's line (ampere meter)."""
    rate_hz: Annotated[float, Gt(0), Le(SAMPLES_HZ)] = 1000.0
    input: Annotated[int, Ge(0), Le(7)] | None = None
    """Of its logic port, which `gpio_marked` goes by."""
    uncertainty: Annotated[float, Ge(0)] = 0.1
    """Relative: ours until your kit was compared with a better meter."""

    tier: ClassVar[Tier] = "T2"

    def window(self, session: Session) -> AbstractContextManager[Recording]:
        driver: list[Any] = []
        return listening(session, self._opened(driver), lambda heard: self._trace(heard, driver[0].get_samples))

    @contextmanager
    def _opened(self, driver: list[Any]) -> Iterator[Callable[[], bytes | None]]:
        """`driver` takes the one that knows the kit's calibration."""
        try:
            from ppk2_api.ppk2_api import PPK2_API
        except ImportError:
            raise InstrumentError("ppk2 needs ppk2-api: pip install 'assay[meters]'") from None
        spoke_s = time.monotonic()

        def read() -> bytes | None:
            nonlocal spoke_s
            time.sleep(PAUSE_S)
            try:
                said: bytes = kit.get_data()
            except OSError as error:
                raise InstrumentError(f"ppk2: {self.port} broke off ({error}); check its cable") from None
            if said:
                spoke_s = time.monotonic()
            elif time.monotonic() > spoke_s + SILENCE_S:
                raise InstrumentError(f"ppk2: {self.port} sends no samples; unplug the kit and plug it in again")
            return said or None

        try:
            kit = PPK2_API(self.port, timeout=1.0, write_timeout=1.0, exclusive=True)
        except OSError as error:
            raise InstrumentError(f"ppk2: {self.port} cannot be opened ({error}); see: ls /dev/serial/by-id") from None
        try:
            kit.stop_measuring()  # what a killed program left running
            kit.get_data()
            if not kit.get_modifiers():
                raise InstrumentError(
                    f"ppk2: {self.port} does not tell its calibration; is it a PPK2? unplug it and plug it in again"
                )
            kit.use_source_meter() if self.supplies else kit.use_ampere_meter()
            kit.set_source_voltage(round(1000 * self.volts))
            if self.supplies:
                kit.toggle_DUT_power("ON")
            kit.start_measuring()
            spoke_s = time.monotonic()
            driver.append(kit)
            yield read
            kit.stop_measuring()
        finally:
            kit.ser.close()

    def _trace(self, heard: Sequence[Heard[bytes]], decoded: Callable[[bytes], tuple[list[float], list[int]]]) -> Trace:
        said = b"".join(piece.said for piece in heard)
        said = said[: len(said) // 4 * 4]
        words = np.frombuffer(said, "<u4")
        index = sample_numbers(words)
        amperes = np.array(decoded(said)[0]) * 1e-6  # the driver's: it filters the spikes at a change of range
        block = round(SAMPLES_HZ / self.rate_hz)
        middle, mean_a = means(index, amperes, block, least=block, most=MOST_A)
        if not len(middle):
            raise InstrumentError(
                f"ppk2: {len(index)} samples, and no {block} of them in a row; measure longer, or raise `rate_hz`"
            )
        # Each piece arrived with its last sample.
        ends = np.cumsum([len(piece.said) for piece in heard]) // 4 - 1
        whole = ends >= 0
        arrived_s = np.array([piece.got_s for piece in heard])[whole]
        return Trace(
            "ppk2",
            self.tier,
            "measured",
            "its own",
            middle / SAMPLES_HZ,
            (mean_a * self.volts)[:, None],
            (Channel("power", "W"),),
            self.rate_hz,
            (-MOST_A * self.volts, MOST_A * self.volts),
            int(index[-1]) + 1 - len(index),
            self.uncertainty,
            offset_of_arrivals(index[ends[whole]] / SAMPLES_HZ, arrived_s),
            {"samples": len(index), "volts": self.volts, "supplies": self.supplies},
            edges_s=self._edges(index, words),
        )

    def _edges(self, index: npt.NDArray[np.int64], words: Words) -> npt.NDArray[np.float64]:
        if self.input is None:
            return np.empty((0, 2))
        return edges(index / SAMPLES_HZ, (words >> (INPUTS_BIT + self.input) & 1).astype(np.float64))


METER = Ppk2


def sample_numbers(words: Words) -> npt.NDArray[np.int64]:
    """[n] number of each sample from 0, where the counter shows that some between were lost; 64 in a row go unseen here."""
    counter = (words >> COUNTER_BIT).astype(np.int64) % COUNTER_ROUND
    steps = (np.diff(counter) - 1) % COUNTER_ROUND + 1
    return np.concatenate([[0], np.cumsum(steps)])
