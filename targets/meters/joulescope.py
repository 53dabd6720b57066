"""Joulescope JS220 and JS110: voltage and current sampled one or two million times a second, whose energy the instrument itself adds up.

Its maker's driver (`pyjoulescope-driver`) hands over a block of statistics `rate_hz` times a second: the joules so far, and the block's peak.
"""

from __future__ import annotations

import itertools
import math
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from annotated_types import Ge, Le

from targets.meters import Recording
from targets.power.arrivals import offset_of_arrivals
from targets.power.listening import InstrumentError, listening
from targets.power.trace import Channel, Tier, Trace
from targets.session import Session

Settings = Mapping[str, str | int]
MODELS: Mapping[str, tuple[int, Settings]] = {
    "js220": (1_000_000, {"s/i/range/mode": "auto"}),
    "js110": (2_000_000, {"s/i/range/select": "auto", "s/i/ctrl": "on", "s/v/ctrl": "on", "s/p/ctrl": "on"}),
}
"""Samples a second that its statistics are made of, and what is set for them."""
MOST_A = 10.0
"""Of both models' largest range."""
MOST_CLIPPED = 0.001
"""Of the blocks: with more of them beyond the range the sum is worth nothing."""
WAIT_S = 0.1
SILENCE_S = 3.0


class Block(NamedTuple):
    """What the driver told, and when it came here."""

    arrived_s: float
    first: int
    """Sample that it begins with, of all since the instrument was opened."""
    end: int
    """The one after its last."""
    rate_hz: float
    joules: float
    """Since the instrument's sum was cleared."""
    peak_w: float
    peak_a: float
    """The larger of both signs."""


@dataclass(frozen=True, slots=True)
class Joulescope:
    """In the supply's line of a small device."""

    device: str = ""
    """Its serial number, where several are attached."""
    rate_hz: Annotated[float, Ge(1), Le(1000)] = 20.0
    uncertainty: Annotated[float, Ge(0)] = 0.01
    """Relative: ours until yours was compared with a better meter; its maker states less for most ranges."""

    tier: ClassVar[Tier] = "T2"

    def window(self, session: Session) -> AbstractContextManager[Recording]:
        about: dict[str, str] = {}
        return listening(session, self._opened(about), lambda heard: self._trace([one.said for one in heard], about))

    @contextmanager
    def _opened(self, about: dict[str, str]) -> Iterator[Callable[[], Block | None]]:
        """`about` takes which instrument it is."""
        try:
            from pyjoulescope_driver import Driver
        except ImportError:
            raise InstrumentError("joulescope needs pyjoulescope-driver: pip install 'assay[meters]'") from None
        blocks: queue.SimpleQueue[Block] = queue.SimpleQueue()
        heard_s = time.monotonic()

        def take(_: str, value: Mapping[str, Any]) -> None:
            blocks.put(_block(value, time.monotonic()))

        def read() -> Block | None:
            nonlocal heard_s
            try:
                block = blocks.get(timeout=WAIT_S)
            except queue.Empty:
                if time.monotonic() > heard_s + SILENCE_S:
                    raise InstrumentError(f"joulescope: {path} sends nothing any more; check its cable") from None
                return None
            heard_s = block.arrived_s
            return block

        try:
            with Driver() as driver:
                path = self._path(driver.device_paths())
                about["device"] = path
                samples_hz, settings = MODELS[path.split("/")[1]]
                driver.open(path)
                begin: Settings = {**settings, "s/stats/scnt": round(samples_hz / self.rate_hz), "s/stats/ctrl": 1}
                for topic, value in begin.items():
                    driver.publish(f"{path}/{topic}", value)
                driver.subscribe(f"{path}/s/stats/value", "pub", take)
                yield read
                driver.unsubscribe(f"{path}/s/stats/value", take)
                driver.publish(f"{path}/s/stats/ctrl", 0)
                driver.close(path)
        except (RuntimeError, OSError) as error:
            raise InstrumentError(
                f"joulescope: the driver fails ({error}); is another program using it? see `python -m pyjoulescope_driver scan`"
            ) from None

    def _path(self, paths: Sequence[str]) -> str:
        """Such as `u/js220/002557`."""
        known = [path for path in paths if path.split("/")[1] in MODELS and path.endswith(self.device)]
        if len(known) == 1:
            return known[0]
        attached = ", ".join(paths) or "none"
        raise InstrumentError(
            f"joulescope: attached: {attached}; `device` ({self.device or 'not set'}) must leave one {' or '.join(MODELS)}"
        )

    def _trace(self, blocks: Sequence[Block], about: Mapping[str, str]) -> Trace:
        joules = np.array([block.joules for block in blocks])
        if not all(map(math.isfinite, (*joules, *(block.peak_w for block in blocks)))):
            raise InstrumentError("joulescope: its sums hold what is no number: it was overloaded; choose a larger range")
        clipped = sum(block.peak_a >= MOST_A for block in blocks)
        if clipped > MOST_CLIPPED * len(blocks):
            raise InstrumentError(f"joulescope: {clipped} of {len(blocks)} blocks reach {MOST_A:g} A, its limit")
        if (np.diff(joules) < 0).any():
            raise InstrumentError("joulescope: its sum of energy fell: swap IN and OUT, or another program cleared it")
        end_s = np.array([block.end / block.rate_hz for block in blocks])
        lost = sum(max(0, block.first - before.end) for before, block in itertools.pairwise(blocks))
        return Trace(
            "joulescope",
            self.tier,
            "measured",
            "its own",
            end_s,
            joules[:, None],
            (Channel("power", "J"),),
            self.rate_hz,
            None,
            round(lost / max(1, blocks[0].end - blocks[0].first)),
            self.uncertainty,
            offset_of_arrivals(end_s, np.array([block.arrived_s for block in blocks])),
            {**about, "blocks": len(blocks)},
            ("clipped",) if clipped else (),
            peaks=np.stack([end_s, [block.peak_w for block in blocks]], axis=1),
        )


METER = Joulescope


def _block(value: Mapping[str, Any], arrived_s: float) -> Block:
    first, end = value["time"]["samples"]["value"]
    power, current = value["signals"]["power"], value["signals"]["current"]
    return Block(
        arrived_s,
        first,
        end,
        value["time"]["sample_freq"]["value"],
        value["accumulators"]["energy"]["value"],
        power["max"]["value"],
        max(abs(current["min"]["value"]), abs(current["max"]["value"])),
    )
