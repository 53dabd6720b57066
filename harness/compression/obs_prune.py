"""Optimal brain surgery: prune each layer by what its calibration inputs say, with or without training after it (Frantar et al. 2022, arXiv:2208.11580).

With `bits` the weights that stay are quantized too, by the same method: optimal brain compression.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Le, Lt

from harness.compression import Compressed, Numeric
from harness.compression.numerics.post_training import Surgery, made, uniform
from harness.compression.numerics.removable import parse_removable

if TYPE_CHECKING:
    from torch import nn

    from harness.compression.numerics.layers import Layer
    from harness.compression.numerics.surgery import Option
    from harness.context import Context
    from harness.data import Data


@dataclass(frozen=True, slots=True, kw_only=True)
class ObsPrune(Surgery):
    """Weights of 2-d convolutions and linear layers. Every layer loses the same share, wherever in the layer it costs the least."""

    sparsity: Annotated[float, Gt(0), Lt(1)]
    """Share of the units that each layer loses, rounded to a whole number of them; of n:m exactly 1 - n/m."""
    regularity: str = "unstructured"
    """`unstructured`; `2:4` (n kept of m input channels); `block-punched 16x1`, `1x4` (one place of kernels of filters x channels); `1x16` (whole
    kernels of 16 filters at one input channel). Filters that lose the same weigh their losses together."""
    bits: Annotated[int, Ge(2), Le(8)] | None = None
    """Of the weights that stay; none: float32."""
    symmetric: bool = True
    """Of the grid that `bits` gives each filter."""
    int8: bool = False
    """Make an integer network of what is left: 8-bit weights, a scale a filter, and 8-bit activations. Not together with `bits`."""

    def __post_init__(self) -> None:
        parse_removable(self.regularity, (self.sparsity,))
        self.check_trainable(self.bits)
        if self.int8 and self.bits is not None:
            raise ValueError("`int8` and `bits` both say how wide weights are: leave one out")

    @property
    def numeric(self) -> Numeric:
        return "int8" if self.int8 else "float32"

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        from harness.compression.numerics.integer import as_int8
        from harness.compression.numerics.removable import unremovable
        from harness.compression.numerics.surgery import Option

        regularity = parse_removable(self.regularity)
        option = Option(self.sparsity, regularity, self.bits, self.symmetric)

        def found(layer: Layer) -> Option | str:
            return unremovable(regularity, layer) or option

        network, chosen, left_alone = uniform(self, module, data, context, found)
        self.fine_tune(network, module, chosen, context)
        compressed = made(network, chosen, left_alone, data, context)
        if not self.int8:
            return compressed
        inputs = self.calibration(data, context).numpy()
        integer = as_int8(compressed.members[0].module, inputs, True, data, context, sparse=True)
        return dataclasses.replace(integer, left_alone=compressed.left_alone | integer.left_alone)


METHOD = ObsPrune
