"""Post-training int8: weights symmetric, activations asymmetric by smallest and largest value (Jacob et al. 2018, sec. 2-3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge

from harness.compression import Compressed, Numeric, Tensors

if TYPE_CHECKING:
    from torch import nn

    from harness.context import Context
    from harness.data import Data


@dataclass(frozen=True, slots=True)
class Int8Ptq:
    """The module keeps float arithmetic with weights on the int8 grid: a backend that quantizes them again finds the same codes."""

    numeric: ClassVar[Numeric] = "int8"

    per_channel: bool = True
    """Weight [out, in, ...] -> one scale an output channel; False: one scale a layer."""
    calibration_samples: Annotated[int, Ge(1)] = 256
    """Training examples that give the ranges of the activations."""
    tensors: Tensors = "all"
    """`linear`: only what goes into linear layers and their weights; all between stays float32. A transformer whose sums hold a few large
    features needs it (Bondarenko et al. 2021, arXiv:2109.12948); convolutions cannot have it."""

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        from harness.compression.numerics.calibration import calibration_inputs
        from harness.compression.numerics.integer import as_int8

        inputs = calibration_inputs(data, self.calibration_samples, context.rng("calibration"))
        return as_int8(module, inputs, self.per_channel, data, context, tensors=self.tensors)


METHOD = Int8Ptq
