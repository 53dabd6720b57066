"""Energy counters of the CPU's package and memory (Intel, AMD), through the kernel's powercap.

Of each package the zone itself counts, and its memory where it has a zone of its own; `core` and `uncore` are inside the package. `psys`, the whole
platform, contains the packages: it counts alone, where it is asked for. The counters are root's to read (CVE-2020-8694).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from targets.device_files import children, lines_of
from targets.meters import Recording, Silent
from targets.power.sampled import Readings, sampled
from targets.power.trace import Channel, NoTrace, Tier, Trace
from targets.session import Session

_ZONE = re.compile(r"intel-rapl:\d+(:\d+)?")


class _Zone(NamedTuple):
    folder: str
    name: str
    range_uj: int
    """The largest count; the next is 0."""


@dataclass(frozen=True, slots=True)
class Rapl:
    """Not the mains: losses of the supply, fans and disks are not in it."""

    dram: bool = True
    """With the memory, where it has a counter of its own."""
    psys: bool = False
    """The whole platform instead of packages and memory."""
    rate_hz: Annotated[float, Gt(0), Le(1000)] = 20.0
    """The counters move about 1000 times a second."""
    uncertainty: Annotated[float, Ge(0), Le(1)] = 0.05
    """Of the counters, relative. Their maker states none; Haswell and newer differ by a few percent from a meter (Khan et al. 2018)."""
    sysfs: str = ""
    """Where /sys is; empty: where the target says."""

    tier: ClassVar[Tier] = "T4"

    def window(self, session: Session) -> AbstractContextManager[Recording]:
        zones, facts = self._zones(session)
        if isinstance(zones, NoTrace):
            return nullcontext(Silent(zones))
        files = [f"{zone.folder}/energy_uj" for zone in zones]
        return sampled(session, files, self.rate_hz, lambda readings: self._trace(readings, zones, facts))

    def _zones(self, session: Session) -> tuple[list[_Zone] | NoTrace, Mapping[str, Any]]:
        """The zones that are added up, or why there are none; and what else was found."""
        root = f"{self.sysfs or '/sys'}/class/powercap"
        folders = [path for path in children(session, root + "/") if _ZONE.fullmatch(path.rpartition("/")[2])]
        lines = lines_of(
            session, [f"{folder}/{name}" for folder in folders for name in ("name", "max_energy_range_uj", "energy_uj")]
        )

        def said(folder: str, name: str) -> str:
            return (lines.get(f"{folder}/{name}") or [""])[0].strip()

        names = {folder: said(folder, "name") for folder in folders}
        chosen = [folder for folder in folders if self._counts(folder, names)]
        facts = {
            "zones": {folder.rpartition("/")[2]: {"name": name, "counts": folder in chosen} for folder, name in names.items()}
        }
        if not chosen:
            what = "no zone `psys`" if self.psys and folders else "no counters of the CPU's energy"
            return NoTrace(f"rapl: {what} in {root}; a virtual machine shows none, on hardware: modprobe intel_rapl_msr"), facts
        if unread := [folder for folder in chosen if not said(folder, "energy_uj").isdigit()]:
            return NoTrace(f"rapl: {unread[0]}/energy_uj cannot be read; it is root's: chmod a+r it, or measure as root"), facts
        ranges = [said(folder, "max_energy_range_uj") for folder in chosen]
        if not all(text.isdigit() and int(text) > 0 for text in ranges):
            return NoTrace("rapl: a zone does not tell at what count it begins again (max_energy_range_uj)"), facts
        found = [_Zone(folder, names[folder], int(text)) for folder, text in zip(chosen, ranges, strict=True)]
        return found, facts

    def _counts(self, folder: str, names: Mapping[str, str]) -> bool:
        name, is_top = names[folder], folder.rpartition("/")[2].count(":") == 1
        if self.psys:
            return name == "psys"
        return (is_top and name.startswith("package")) or (self.dram and name == "dram")

    def _trace(self, readings: Readings, zones: Sequence[_Zone], facts: Mapping[str, Any]) -> Trace:
        columns = [unwrapped(readings.values[:, index], zone.range_uj + 1) for index, zone in enumerate(zones)]
        joules = np.stack(columns, axis=1) * 1e-6
        channels = tuple(Channel(zone.folder.rpartition("/")[2], "J", zone.name) for zone in zones)
        return readings.trace("rapl", self.tier, joules, channels, self.rate_hz, self.uncertainty, facts)


METER = Rapl


def unwrapped(counts: npt.NDArray[np.float64], period: int) -> npt.NDArray[np.float64]:
    """A counter [n] that begins again at `period`, as one that only grows: it must be read at least once in each round."""
    rises: npt.NDArray[np.float64] = np.diff(counts, prepend=0.0) % period
    rises[:1] = counts[:1]
    return np.cumsum(rises)
