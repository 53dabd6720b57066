"""No meter: an estimate by operation and access counts times a published table of a 45 nm process (Horowitz, ISSCC 2014; Sze et al. 2020).

Each multiply-accumulate costs its arithmetic and its operands' reads from a small on-chip memory; each byte of weights is fetched once a call.
Activations beyond that, control, leakage and idle time are not in it: the number ranks networks, and is no device's own. Always `estimated`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

from annotated_types import Ge

from targets.power.trace import Tier
from targets.power.work import Work


class Costs(NamedTuple):
    """Picojoules, at 45 nm and 0.9 V."""

    multiply: float
    accumulate: float
    bits: int
    """Of an operand."""


ARITHMETIC: Mapping[str, Costs] = {"int8": Costs(0.2, 0.1, 8), "float32": Costs(3.7, 0.9, 32)}
"""8-bit integers are accumulated in 32 bits."""
SRAM_PJ_PER_BIT = 5 / 32
"""A memory of 8 kB (some copies write 8 kb): half of an access of 64 bits."""
DRAM_PJ_PER_BIT = 640 / 32


@dataclass(frozen=True, slots=True)
class EnergyModel:
    """An accelerator as the table's readers imagine it."""

    weights_in: Literal["dram", "sram"] = "dram"
    """Where the weights are fetched from, once a call."""
    reuse: Annotated[float, Ge(1)] = 1.0
    """Multiply-accumulates that an operand serves, once it was read from on-chip memory."""
    skips_zeros: bool = False
    """Whether multiply-accumulates by zero weights cost nothing."""

    tier: ClassVar[Tier] = "T4"

    def joules(self, work: Work) -> Mapping[str, float]:
        """Of one call, by what takes it; the whole is their sum."""
        costs = ARITHMETIC[work.numeric]
        macs = work.nonzero_macs if self.skips_zeros else work.macs
        weights_pj_per_bit = DRAM_PJ_PER_BIT if self.weights_in == "dram" else SRAM_PJ_PER_BIT
        return {
            "arithmetic_j": 1e-12 * macs * (costs.multiply + costs.accumulate),
            "operands_j": 1e-12 * macs * 2 * costs.bits * SRAM_PJ_PER_BIT / self.reuse,
            "weights_j": 1e-12 * work.weight_bytes * 8 * weights_pj_per_bit,
        }


METER = EnergyModel
