"""Power sensors as the kernel shows them in files: rails, which of them make the whole, and the trace of those."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from targets.device_files import children, lines_of
from targets.meters import Recording, Silent
from targets.power.sampled import Readings, sampled
from targets.power.trace import Channel, NoTrace, Trace
from targets.session import Session


@dataclass(frozen=True, slots=True)
class Rail:
    """One channel of one chip."""

    chip: str
    label: str
    files: tuple[str, ...]
    """Of power, or of voltage and current."""
    unit_w: float = 1e-6
    """Of their product: microwatts, and millivolts times milliamperes."""

    @property
    def name(self) -> str:
        return f"{self.chip}/{self.label}"


@dataclass(frozen=True, slots=True)
class Rails:
    """How a meter reads the rails that it chose."""

    meter: str
    rate_hz: float
    uncertainty: float
    range_w: tuple[float, float] | None

    def window(
        self, session: Session, found: Sequence[Rail], chosen: Sequence[Rail] | NoTrace
    ) -> AbstractContextManager[Recording]:
        """Of the chosen ones, which are beside each other; those that were found and not chosen are named in the trace."""
        if isinstance(chosen, NoTrace):
            return nullcontext(Silent(chosen))
        facts = {"rails": {rail.name: {"files": list(rail.files), "counts": rail in chosen} for rail in found}}
        files = [file for rail in chosen for file in rail.files]
        return sampled(session, files, self.rate_hz, lambda readings: self._trace(readings, chosen, facts))

    def _trace(self, readings: Readings, rails: Sequence[Rail], facts: Mapping[str, Any]) -> Trace:
        watts, column = [], 0
        for rail in rails:
            watts.append(readings.values[:, column : column + len(rail.files)].prod(axis=1) * rail.unit_w)
            column += len(rail.files)
        channels = tuple(Channel(rail.name, "W", rail.label) for rail in rails)
        joined = np.stack(watts, axis=1)
        return readings.trace(self.meter, "T3", joined, channels, self.rate_hz, self.uncertainty, facts, self.range_w)


def named(found: Sequence[Rail], wanted: Sequence[str], meter: str) -> list[Rail] | NoTrace:
    """The rails that are called so, by `label` or `chip/label`; each name must be that of one."""
    names = ", ".join(rail.name for rail in found)
    chosen: list[Rail] = []
    for name in wanted:
        called = [rail for rail in found if name in (rail.label, rail.name)]
        if not called:
            return NoTrace(f"{meter}: no rail `{name}`; there are {names}")
        if len(called) > 1:
            return NoTrace(f"{meter}: {len(called)} rails are called `{name}`; say which by `chip/label`, of {names}")
        chosen += called
    return chosen


def hwmon_rails(session: Session, chip: str, folder: str) -> list[Rail]:
    """A chip's channels: `power1_input` (uW), else `in1_input` (mV) with `curr1_input` (mA), as the kernel's hwmon interface defines them."""
    paths = children(session, folder + "/")
    there = {path.rpartition("/")[2] for path in paths}
    labels = lines_of(session, [path for path in paths if path.endswith("_label")])

    def label(*kinds: str, otherwise: str) -> str:
        said = (labels.get(f"{folder}/{kind}_label") or [""] for kind in kinds)
        return next((lines[0].strip() for lines in said if lines[0].strip()), otherwise)

    numbers = sorted({int(match[1]) for name in there if (match := re.fullmatch(r"(?:power|curr)(\d+)_(?:input|average)", name))})
    rails = []
    for number in numbers:
        if chip == "ina3221" and number > 3:  # its fourth current is the sum of the others, its fourth voltage a shunt's
            continue
        power, current, voltage = f"power{number}", f"curr{number}", f"in{number}"
        called = label(power, current, voltage, otherwise=power)
        if called == "NC":  # not connected
            continue
        if read := next((name for name in (f"{power}_input", f"{power}_average") if name in there), ""):
            rails.append(Rail(chip, called, (f"{folder}/{read}",)))
        elif {f"{voltage}_input", f"{current}_input"} <= there:
            rails.append(Rail(chip, called, (f"{folder}/{voltage}_input", f"{folder}/{current}_input")))
    return rails
