"""The rails of a Raspberry Pi 5, as its power chip measures them: `vcgencmd pmic_read_adc` tells volts and amperes of each.

It is not the whole board: USB, what hats and the fan take from 5 V, and what the converters lose are in no rail, and the 5 V input has a voltage alone.
A Raspberry Pi 4 and older have no such sensor.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from targets.meters import Recording, Silent
from targets.power.sampled import Readings, sampled
from targets.power.trace import Channel, NoTrace, Tier, Trace
from targets.session import Session

SAID = r"(?m)^\s*(\S+?)_[AV](?:\s+\w+\(\d+\))?=(-?\d+(?:\.\d+)?)([AV])\s*$"
"""`VDD_CORE_A current(7)=1.0805A`, `VDD_CORE_V volt(15)=0.7217V`, also without the part between: rail, number, unit."""
READ = """
import re, subprocess
said = {}

def read(word):
    if word == words[0]:
        told = subprocess.run([program, "pmic_read_adc"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        said.clear()
        said.update((rail + " " + unit, number) for rail, number, unit in re.findall(pattern, told.decode("ascii", "replace")))
    return said.get(word, "-")
"""
"""By rail and unit. `program` and `pattern` are set before, `words` are all that are read at once."""
TIMEOUT_S = 30.0
NOT_IN_IT = "USB, what hats and the fan take from 5 V, and what the converters lose"


@dataclass(frozen=True, slots=True)
class Pi5Pmic:
    """All rails that have both, added up."""

    rate_hz: Annotated[float, Gt(0), Le(50)] = 10.0
    """Each time starts a program, of a few milliseconds of one core."""
    uncertainty: Annotated[float, Ge(0), Le(1)] = 0.1
    """Relative: ours, for its maker states none."""
    program: str = "vcgencmd"
    """By its name or its path on the device."""

    tier: ClassVar[Tier] = "T3"

    def window(self, session: Session) -> AbstractContextManager[Recording]:
        rails = self._rails(session)
        if isinstance(rails, NoTrace):
            return nullcontext(Silent(rails))
        read = f"program, pattern = {(self.program, SAID)!r}{READ}"
        words = [f"{rail} {unit}" for rail in rails for unit in "AV"]
        return sampled(session, words, self.rate_hz, lambda readings: self._trace(readings, rails), read)

    def _rails(self, session: Session) -> Sequence[str] | NoTrace:
        """Those of which both voltage and current are told."""
        if session.python == "none":
            return NoTrace("pi5_pmic: it is read by a Python program on the device, which has no Python")
        asked = session.run([self.program, "pmic_read_adc"], timeout_s=TIMEOUT_S)
        said = asked.stdout.decode("ascii", "replace")
        units: dict[str, set[str]] = {}
        for rail, _, unit in re.findall(SAID, said):
            units.setdefault(rail, set()).add(unit)
        if rails := [rail for rail, both in units.items() if both == {"A", "V"}]:
            return rails
        why = (said.strip() or asked.stderr.decode("utf-8", "replace").strip())[-200:]
        return NoTrace(
            f"pi5_pmic: `{self.program} pmic_read_adc` tells no rail ({why}); is it a Raspberry Pi 5, and its user in group video?"
        )

    def _trace(self, readings: Readings, rails: Sequence[str]) -> Trace:
        watts = readings.values[:, 0::2] * readings.values[:, 1::2]
        channels = tuple(Channel(rail, "W", rail) for rail in rails)
        return readings.trace("pi5_pmic", self.tier, watts, channels, self.rate_hz, self.uncertainty, {"not_in_it": NOT_IN_IT})


METER = Pi5Pmic
