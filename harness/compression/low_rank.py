"""Low rank: layers taken apart into thinner ones, by singular values and Tucker-2 (Kim et al. 2016, arXiv:1511.06530)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Gt, Lt

from harness.compression import Compressed, Numeric
from harness.compression.numerics.tuning import Tuning
from harness.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from harness.context import Context
    from harness.data import Data


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRank(Tuning):
    """The network that comes out has other layers: what was `conv` is `conv.0`, `conv.1` and, of larger kernels, `conv.2`."""

    numeric: ClassVar[Numeric] = "float32"

    ratio: Annotated[float, Gt(0), Lt(1)]
    """Of each layer: what its MACs may be of what they were, or the share of its energy that stays."""
    by: Literal["macs", "energy"] = "macs"
    """`energy`: the sum of squares of the weights."""
    edges: bool = False
    """The stem and the classifier too, which have few channels to spare."""

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        from harness.compression.numerics.counting import claims
        from harness.compression.numerics.layers import is_classifier, is_stem, weighted_layers
        from harness.compression.numerics.low_rank import ranks, refusal, taken_apart

        network, left_alone, found = copy.deepcopy(module).eval(), dict[str, str](), dict[str, list[int]]()
        layers = weighted_layers(network)
        for name, layer in layers.items():
            is_edge = is_stem(name, layer, layers, data.spec) or is_classifier(name, layer, layers, data.spec)
            if reason := refusal(layer) or ("`edges` is false" if is_edge and not self.edges else None):
                left_alone[name] = reason
            elif rank := ranks(layer, self.ratio, self.by):
                network.set_submodule(name, taken_apart(layer, rank))
                found[name] = list(rank)
            else:
                left_alone[name] = "no rank leaves it less work"
        if not found:
            raise UserError(
                f"low_rank: no layer is taken apart: {'; '.join(f'{name}: {why}' for name, why in left_alone.items())}"
            )
        context.log("ranks", inputs_outputs=found)
        context.log("validation", stage="taken apart", **context.evaluate(network))
        if self.fine_tune_epochs:
            context.train(network, self.recipe(context, self.fine_tune_epochs), loss=self.loss(module, context))
        network.eval()
        context.log("validation", stage="final", **context.evaluate(network))
        counted = claims(network, data.spec.example())
        return Compressed.single(network, counted, log=tuple(context.events), left_alone=left_alone)


METHOD = LowRank
