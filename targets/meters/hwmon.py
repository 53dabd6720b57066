"""Power sensors that the kernel shows in /sys/class/hwmon: INA219, 226, 3221 and 238, LTC2945 to 2992 and their like, found by name.

Numbers of hwmon folders change from boot to boot, so chips are known by `name`. A chip tells power in microwatts, or a voltage and a current whose
product it is. Which rails are added is said by their labels: a board's total (VDD_IN, 5V_IN, total ...) counts alone, since all others are
inside it; where no label says `total`, `rails` must name those that are beside each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from targets.device_files import children, lines_of
from targets.meters import Recording
from targets.power.rails import Rail, Rails, hwmon_rails, named
from targets.power.trace import NoTrace, Tier
from targets.session import Session

_CHIP = re.compile(r"(ina\d{3}x?|ltc\d{4}|max\d{4,5}|tps\d+|isl\d+|pmbus|sq\d+)\w*", re.IGNORECASE)
"""Names of drivers of chips that measure power. A battery's or a CPU's own sensors are other meters' matter."""
_TOTAL = re.compile(r"(vdd_in|sys_vin\w*|5v_in|12v_in|vin|total\w*|pom_\w*_in|input|board)", re.IGNORECASE)
"""Labels of the rail that feeds all others, as makers of boards write them."""


@dataclass(frozen=True, slots=True)
class Hwmon:
    """Shunts on the board: what the rail gives, without losses before it."""

    rails: tuple[str, ...] = ()
    """`label` or `chip/label` of each rail to add; none of them may be inside another. Empty: the one rail that is the total by its label."""
    chip: str = ""
    """Name of the only chip to look at; empty: every one that measures power."""
    rate_hz: Annotated[float, Gt(0), Le(1000)] = 20.0
    """A chip averages over its conversion time, and gives an old value to who asks more often (see its `update_interval`)."""
    uncertainty: Annotated[float, Ge(0), Le(1)] = 0.02
    """Relative: mostly of the shunt."""
    range_w: tuple[float, float] | None = None
    """Of each rail: shunt, gain and driver decide."""
    sysfs: str = ""
    """Where /sys is; empty: where the target says."""

    tier: ClassVar[Tier] = "T3"

    def window(self, session: Session) -> AbstractContextManager[Recording]:
        found = self._found(session)
        return Rails("hwmon", self.rate_hz, self.uncertainty, self.range_w).window(session, found, self._chosen(found))

    def _found(self, session: Session) -> list[Rail]:
        """Every rail of every chip, in the order of their names."""
        folders = children(session, f"{self.sysfs or '/sys'}/class/hwmon/")
        names = lines_of(session, [f"{folder}/name" for folder in folders])
        rails: list[Rail] = []
        for folder in folders:
            chip = (names.get(f"{folder}/name") or [""])[0].strip()
            if chip == self.chip if self.chip else _CHIP.fullmatch(chip):
                rails += hwmon_rails(session, chip, folder)
        return sorted(rails, key=lambda rail: rail.name)

    def _chosen(self, found: Sequence[Rail]) -> list[Rail] | NoTrace:
        if not found:
            what = f"no chip `{self.chip}`" if self.chip else "no chip that measures power"
            where = f"{self.sysfs or '/sys'}/class/hwmon"
            return NoTrace(f"hwmon: {what} in {where}; load its driver (modprobe ina2xx), or name it by `chip`")
        if self.rails:
            return named(found, self.rails, "hwmon")
        totals = list(found) if len(found) == 1 else [rail for rail in found if _TOTAL.fullmatch(rail.label)]
        if len(totals) == 1:
            return totals
        names = ", ".join(rail.name for rail in found)
        return NoTrace(f"hwmon: which rails make the whole? name those beside each other by `rails`, of {names}")


METER = Hwmon
