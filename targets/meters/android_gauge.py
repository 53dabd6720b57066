"""The gauge of a phone's battery, by the kernel's power_supply: what the battery gives while nothing charges it. Slow and coarse; every phone has one.

Vendors differ in unit (microamperes as the kernel says, or milliamperes) and sign of `current_now`. The unit is told by the size of the largest
reading, the sign by a battery that is being emptied.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Le

from targets.device_files import lines_of
from targets.meters import Recording, Silent
from targets.power.sampled import Readings, sampled
from targets.power.trace import Channel, NoTrace, Tier, Trace
from targets.session import Session

UNITS: Mapping[str, float] = {"microamperes": 1e-6, "milliamperes": 1e-3}
LARGEST_MILLIAMPERES = 10_000
"""A phone that computes draws more than 10 mA and less than 10 A: a larger number is in microamperes."""
LARGEST_MILLIVOLTS = 100_000
EMPTIED = "Discharging"


@dataclass(frozen=True, slots=True)
class AndroidGauge:
    """Read it over Wi-Fi (`adb tcpip`), or with charging suspended: while the phone is charged, the gauge shows what goes in."""

    supply: str = "battery"
    """Its folder in /sys/class/power_supply."""
    unit: Literal["auto", "microamperes", "milliamperes"] = "auto"
    """Of its current."""
    rate_hz: Annotated[float, Gt(0), Le(100)] = 2.0
    """Gauges give a new value every 0.25 to 4 s."""
    uncertainty: Annotated[float, Ge(0), Le(1)] = 0.1
    """Relative: ours until your phone was compared with a meter in its battery's place."""
    sysfs: str = ""
    """Where /sys is; empty: where the target says."""

    tier: ClassVar[Tier] = "T5"

    @property
    def _folder(self) -> str:
        return f"{self.sysfs or '/sys'}/class/power_supply/{self.supply}"

    def window(self, session: Session) -> AbstractContextManager[Recording]:
        if reason := self._missing(session):
            return nullcontext(Silent(NoTrace(f"android_gauge: {reason}")))
        files = [f"{self._folder}/{name}" for name in ("current_now", "voltage_now")]
        return sampled(session, files, self.rate_hz, lambda readings: self._trace(readings, self._charged(session)))

    def _missing(self, session: Session) -> str:
        said = lines_of(session, [f"{self._folder}/{name}" for name in ("status", "current_now", "voltage_now")])
        unread = [name for name in ("current_now", "voltage_now") if not said.get(f"{self._folder}/{name}")]
        if unread:
            return f"{self._folder}/{unread[0]} cannot be read; on most phones it is root's (adb root)"
        return self._charged(session)

    def _charged(self, session: Session) -> str:
        """Why what it shows is not what the phone draws; empty where it is."""
        file = f"{self._folder}/status"
        status = (lines_of(session, [file]).get(file) or ["unknown"])[0].strip()
        if status == EMPTIED:
            return ""
        return f"the battery's status is `{status}`, not `{EMPTIED}`: unplug it (adb over Wi-Fi), or suspend charging (input_suspend)"

    def _trace(self, readings: Readings, charged: str) -> Trace | NoTrace:
        current, voltage = readings.values[:, 0], readings.values[:, 1]
        if charged or not len(current):
            return NoTrace(f"android_gauge: {charged or 'no reading of it could be had'}")
        if (current > 0).any() and (current < 0).any():
            return NoTrace("android_gauge: the current changed its sign: the battery was charged for a while")
        unit = self.unit
        if unit == "auto":
            unit = "milliamperes" if np.abs(current).max() < LARGEST_MILLIAMPERES else "microamperes"
        volts = voltage * (1e-3 if voltage.max() < LARGEST_MILLIVOLTS else 1e-6)
        facts: dict[str, Any] = {"current": unit, "emptied_is": "negative" if (current < 0).any() else "positive"}
        watts = (np.abs(current) * UNITS[unit] * volts)[:, None]
        channels = (Channel(self.supply, "W"),)
        return readings.trace("android_gauge", self.tier, watts, channels, self.rate_hz, self.uncertainty, facts)


METER = AndroidGauge
