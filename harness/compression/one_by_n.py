"""1xN pruning: the kernels of N neighbouring filters at one input channel stay or go together (Lin et al. 2022, arXiv:2105.14713).

Filters are rearranged first, and their order is carried through the network (batch-norm, depthwise filters, the next layers' input channels,
whole residual streams), so that what is exported has its blocks in one piece.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Lt

from harness.compression import Compressed, Numeric
from harness.compression.numerics.tuning import Tuning
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import nn

    from harness.compression.numerics.layers import Layer
    from harness.context import Context
    from harness.data import Data


@dataclass(frozen=True, slots=True, kw_only=True)
class OneByNPrune(Tuning):
    """Every layer loses the same share of its blocks; the stem, depthwise and other grouped convolutions lose none."""

    numeric: ClassVar[Numeric] = "float32"

    sparsity: Annotated[float, Gt(0), Lt(1)]
    """Share of each layer's blocks that is removed: exactly round(sparsity * blocks)."""
    n: Literal[2, 4, 8, 16, 32] = 4
    """Filters of a block."""
    rearrange: Literal["none", "l1", "exchange"] = "l1"
    """`l1`: filters sorted by L1 norm; `exchange`: from there on exchanged between blocks while that retains more. Either is taken only
    where it retains more L1 norm than the order in which the filters are."""
    ragged: Literal["short", "leave"] = "short"
    """Where filters are no multiple of n: the last block has fewer, or the layer is left as it is."""
    include_fc: bool = False
    """Prune linear layers too."""
    bn_reset: bool = False
    """Estimate batch-norm statistics again on calibration inputs, last of all."""
    calibration_samples: Annotated[int, Ge(1)] = 512
    """Training examples for `bn_reset`."""

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        from harness.compression.numerics.counting import claims
        from harness.compression.numerics.layers import weighted_layers
        from harness.compression.numerics.rearrange import rearrange
        from harness.compression.numerics.regularity import OneByN
        from harness.compression.numerics.retrain import prune_and_retrain

        network = copy.deepcopy(module).eval()
        layers = weighted_layers(network)
        left_alone = {name: reason for name, layer in layers.items() if (reason := self._refusal(name, layer, layers, data))}
        pruned = {name: layer for name, layer in layers.items() if name not in left_alone}
        if not pruned:
            raise UserError(f"one_by_n: no layer can be pruned: {'; '.join(f'{n}: {why}' for n, why in left_alone.items())}")
        if self.rearrange != "none":
            exchange = self.rearrange == "exchange"
            moved = rearrange(
                network, list(pruned), data.spec.example(), self.n, self.sparsity, exchange, context.rng("exchange")
            )
            for found in moved:
                context.log("rearranged", **found._asdict())
        masks = {name: OneByN(self.n).mask(layer.weight, self.sparsity) for name, layer in pruned.items()}
        samples = self.calibration_samples if self.bn_reset else 0
        prune_and_retrain(network, masks, module, data, context, self, samples)
        counted = claims(network, data.spec.example(), sparse=True)
        return Compressed.single(network, counted, log=tuple(context.events), left_alone=left_alone)

    def _refusal(self, name: str, layer: Layer, layers: Collection[str], data: Data) -> str | None:
        """Why a layer is left alone, or None."""
        from torch import nn

        from harness.compression.numerics.layers import is_stem
        from harness.compression.numerics.regularity import OneByN

        outputs = layer.weight.shape[0]
        if isinstance(layer, nn.Linear) and not self.include_fc:
            return "a linear layer; `include_fc` prunes it"
        if is_stem(name, layer, layers, data.spec):
            return "the stem"
        if outputs % self.n and self.ragged == "leave":
            return f"{outputs} filters are no multiple of {self.n}, and `ragged` says to leave it"
        return OneByN(self.n).applies_to(layer)


METHOD = OneByNPrune
