"""Codebook: each layer's weights share few values, found by k-means and trained on (Han et al. 2016, arXiv:1510.00149, sec. 3)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Le

from harness.compression import Compressed, Numeric
from harness.compression.numerics.tuning import Tuning
from harness.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from harness.context import Context
    from harness.data import Data


@dataclass(frozen=True, slots=True, kw_only=True)
class Codebook(Tuning):
    """A table a layer, and a code of few bits a weight. What is computed stays float32."""

    numeric: ClassVar[Numeric] = "float32"

    bits: Annotated[int, Ge(1), Le(8)] = 4
    """Of a code: a table has 2^bits values."""

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        from harness.compression.numerics.codebook import Shared, stored_bits
        from harness.compression.numerics.counting import claims
        from harness.compression.numerics.layers import weighted_layers
        from harness.compression.numerics.represented import represented

        network = copy.deepcopy(module).eval()
        sizes = {name: layer.weight.numel() for name, layer in weighted_layers(network).items()}
        left_alone = {
            name: f"codes and table of its {size} weights would take more than the weights"
            for name, size in sizes.items()
            if stored_bits(size, self.bits) >= 32 * size
        }
        chosen = [name for name in sizes if name not in left_alone]
        if not chosen:
            raise UserError(f"codebook: no layer has weights enough to share a table of {self.bits} bits; take fewer bits")
        with represented(network, {name: Shared(network.get_parameter(f"{name}.weight"), self.bits) for name in chosen}):
            context.log("validation", stage="shared", **context.evaluate(network))
            if self.fine_tune_epochs:
                context.train(network, self.recipe(context, self.fine_tune_epochs), loss=self.loss(module, context))
        context.log("validation", stage="final", **context.evaluate(network))
        bits = {f"{name}.weight": stored_bits(sizes[name], self.bits) for name in chosen}
        counted = claims(network, data.spec.example(), stored_bits=bits)
        return Compressed.single(network, counted, log=tuple(context.events), left_alone=left_alone)


METHOD = Codebook
