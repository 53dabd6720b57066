"""What a meter leaves: power or energy over time, on a clock that is named, or the reason why there is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Tier = Literal["T1", "T2", "T3", "T4", "T5"]
TIERS: Mapping[Tier, str] = {
    "T1": "external calibrated meter, edge-aligned by GPIO",
    "T2": "external meter, aligned by clock or edges",
    "T3": "shunts on the board's own rails",
    "T4": "a counter or a model in the chip (RAPL, NVML)",
    "T5": "a battery's gauge, or a fit",
}
"""How far a number may be believed, best first; shown wherever energy is."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One column of a trace. All channels of a trace are added up, so none of them may contain another."""

    name: str
    unit: Literal["W", "J"]
    """`J`: a cumulative counter, unwrapped by the meter."""
    rail: str = ""
    """What the channel feeds, as the board or the driver calls it."""


@dataclass(frozen=True, slots=True)
class Offset:
    """From a meter's clock to the device's: device = meter + seconds + drift * (meter - at_s)."""

    seconds: float
    uncertainty_s: float
    """Half width of the interval that holds the truth."""
    drift: float = 0.0
    """Seconds a second."""
    at_s: float = 0.0
    """On the meter's clock: where `seconds` holds."""


def _no_pairs() -> npt.NDArray[np.float64]:
    return np.empty((0, 2))


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What a meter saw over one recording: gaps stay gaps, and nothing is filled in."""

    meter: str
    tier: Tier
    origin: Literal["measured", "emulated", "simulated", "estimated"]
    clock: str
    """Of `time_s`: `CLOCK_MONOTONIC` (the device's), or the meter's own."""
    time_s: npt.NDArray[np.float64]
    """[n], never falling."""
    values: npt.NDArray[np.float64]
    """[n, channels], each in its channel's unit."""
    channels: tuple[Channel, ...]
    rate_hz: float | None
    """That was asked of the meter; None: it takes samples as they come."""
    range_w: tuple[float, float] | None
    """Of each channel in watts; a value at its upper end, or below its lower one, is clipped. None: none is known."""
    dropped: int = 0
    """Samples that the meter says it lost."""
    relative_uncertainty: float = 0.0
    """Of the sensor itself, as its maker states it: 0.01 is 1 % of the reading."""
    offset: Offset | None = None
    """To the device's clock; None: it is the same clock."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Model, serial number, calibration date, what was found and what was left out."""
    flags: tuple[str, ...] = ()
    """What the meter itself doubts: `cross_check`, where two ways to read it differ."""
    peaks: npt.NDArray[np.float64] = field(default_factory=_no_pairs)
    """[m, 2] seconds on the meter's clock and watts of all channels, told beside counters: no energy, but their true peaks."""
    edges_s: npt.NDArray[np.float64] = field(default_factory=_no_pairs)
    """[k, 2] between which moments of the meter's clock a digital input beside the power changed, one after another."""

    def __post_init__(self) -> None:
        if self.time_s.dtype != np.float64 or self.values.dtype != np.float64:
            raise ValueError(f"a trace holds float64, not {self.time_s.dtype} and {self.values.dtype}")
        if not self.channels or self.values.shape != (len(self.time_s), len(self.channels)):
            raise ValueError(f"values {list(self.values.shape)} for {len(self.time_s)} times and {len(self.channels)} channels")
        if not np.isfinite(self.time_s).all() or not np.isfinite(self.values).all():
            raise ValueError("a trace holds numbers alone; what was not read is a gap")
        if (np.diff(self.time_s) < 0).any():
            raise ValueError("the times of a trace never fall")

    @property
    def device_s(self) -> npt.NDArray[np.float64]:
        """[n] on the device's clock."""
        return self.on_device(self.time_s)

    def on_device(self, time_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Moments of the meter's clock on the device's."""
        if self.offset is None:
            return time_s
        return time_s + self.offset.seconds + self.offset.drift * (time_s - self.offset.at_s)


@dataclass(frozen=True, slots=True)
class NoTrace:
    """A sensor that is missing or failed. Never 0."""

    reason: str
    """What, where, and what to do."""
