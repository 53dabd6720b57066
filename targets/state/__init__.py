"""Device state: what is set on a device for the time of a measurement and put back, what it is gated by, and what makes its times void."""

from __future__ import annotations

from targets.state.cooling import Cooling, cooled
from targets.state.policies import Wanted
from targets.state.tuning import Control, Tier, restore, tuned
from targets.state.validity import void_reason

__all__ = ["Control", "Cooling", "Tier", "Wanted", "cooled", "restore", "tuned", "void_reason"]
