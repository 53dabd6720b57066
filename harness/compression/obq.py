"""Optimal brain quantization: weights of 2 to 8 bits without training, activations stay float (Frantar et al. 2022, arXiv:2208.11580).

`solver: plain` is rounding to the nearest value of the same grids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Le

from harness.compression import Compressed, Numeric
from harness.compression.numerics.post_training import PostTraining, made, uniform

if TYPE_CHECKING:
    from torch import nn

    from harness.context import Context
    from harness.data import Data


@dataclass(frozen=True, slots=True, kw_only=True)
class Obq(PostTraining):
    """Weights of 2-d convolutions and linear layers, each filter on a grid of its own that is searched for the least error to its weights."""

    numeric: ClassVar[Numeric] = "float32"

    bits: Annotated[int, Ge(2), Le(8)] = 4
    symmetric: bool = True
    """As many steps below zero as above, but for one; otherwise the grid spans what the filter's weights do."""

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        from harness.compression.numerics.surgery import Option

        option = Option(bits=self.bits, symmetric=self.symmetric)
        return made(*uniform(self, module, data, context, lambda _layer: option), data, context)


METHOD = Obq
