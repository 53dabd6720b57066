"""What one inference asks of a machine, in counts: what a model of its energy is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Work:
    """Of one inference call, a whole batch."""

    macs: float
    """Multiply-accumulates, those by zero weights too."""
    nonzero_macs: float
    weight_bytes: float
    """As the method claims to store them; read once a call."""
    numeric: Literal["float32", "int8"]
