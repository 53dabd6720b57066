"""The power sensors (INA3221) of NVIDIA's Jetson modules, under the labels that their makers gave the rails.

Newer kernels show them as hwmon, older ones as `in_power*_input` in milliwatts with `rail_name_*`. Where a module has a rail for its whole input
that one counts; the AGX Xavier has none, but six rails beside each other. The AGX Orin's are not known to be so: name them by `rails`.
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

WHOLE: Sequence[tuple[str, ...]] = (("VDD_IN",), ("POM_5V_IN",), ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"))
"""Rails that together are the whole module: TX2, Xavier NX, Orin NX and Nano; TX1 and Nano; AGX Xavier (its design guide, figure 5-14)."""


@dataclass(frozen=True, slots=True)
class Jetson:
    """The module's input: the carrier board around it is not in it."""

    rails: tuple[str, ...] = ()
    """Labels of rails to add, none inside another; empty: those that are known to make the whole."""
    rate_hz: Annotated[float, Gt(0), Le(1000)] = 10.0
    """The chips convert about as often."""
    uncertainty: Annotated[float, Ge(0), Le(1)] = 0.05
    sysfs: str = ""
    """Where /sys is; empty: where the target says."""

    tier: ClassVar[Tier] = "T3"

    def window(self, session: Session) -> AbstractContextManager[Recording]:
        found = self._found(session)
        return Rails("jetson", self.rate_hz, self.uncertainty, None).window(session, found, self._chosen(found))

    def _found(self, session: Session) -> list[Rail]:
        root = f"{self.sysfs or '/sys'}/bus/i2c/drivers/"
        drivers = [path for path in children(session, root) if path.rpartition("/")[2].startswith("ina3221")]
        chips = [
            chip for driver in drivers for chip in children(session, driver + "/") if re.fullmatch(r".*/\d+-[0-9a-f]{4}", chip)
        ]
        rails: list[Rail] = []
        for chip in chips:
            name = chip.rpartition("/")[2]
            for part in children(session, chip + "/"):
                if part.endswith("/hwmon"):
                    monitors = children(session, part + "/")
                    rails += [
                        Rail(name, r.label, r.files, r.unit_w) for m in monitors for r in hwmon_rails(session, "ina3221", m)
                    ]
                elif part.rpartition("/")[2].startswith("iio"):
                    rails += _older(session, name, part)
        return rails

    def _chosen(self, found: Sequence[Rail]) -> list[Rail] | NoTrace:
        if not found:
            return NoTrace(f"jetson: no INA3221 in {self.sysfs or '/sys'}/bus/i2c/drivers; is it a Jetson, and may you read it?")
        labels = {rail.label for rail in found}
        wanted = self.rails or next((whole for whole in WHOLE if set(whole) <= labels), ())
        if not wanted:
            names = ", ".join(rail.name for rail in found)
            return NoTrace(f"jetson: which rails make the whole is not known of this module; name them by `rails`, of {names}")
        return named(found, wanted, "jetson")


METER = Jetson


def _older(session: Session, chip: str, folder: str) -> list[Rail]:
    """`rail_name_0`, `in_power0_input` (mW) and so on."""
    files = [path for path in children(session, folder + "/") if re.fullmatch(r"in_power\d+_input", path.rpartition("/")[2])]
    numbers = [re.sub(r"\D", "", path.rpartition("/")[2]) for path in files]
    labels = lines_of(session, [f"{folder}/rail_name_{number}" for number in numbers])
    said = [(labels.get(f"{folder}/rail_name_{number}") or [""])[0].strip() for number in numbers]
    return [Rail(chip, label, (file,), 1e-3) for label, file in zip(said, files, strict=True) if label not in ("", "NC")]
