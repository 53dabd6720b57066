"""Magnitude pruning: zero the smallest weights, one by one (Han et al. 2015, arXiv:1506.02626).

The scope is global by default: one threshold for the whole network mostly keeps more accuracy at equal sparsity than one a layer
(Blalock et al. 2020, arXiv:2003.03033). It may also empty a layer; the log says how dense each one stays.
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
    import torch
    from torch import nn

    from harness.context import Context
    from harness.data import Data


@dataclass(frozen=True, slots=True, kw_only=True)
class MagnitudePrune(Tuning):
    """Weights of convolutions and linear layers; biases and batch-norm are never pruned."""

    numeric: ClassVar[Numeric] = "float32"

    sparsity: Annotated[float, Gt(0), Lt(1)]
    """Share of the weights that is removed: exactly round(sparsity * n)."""
    scope: Literal["global", "local"] = "global"
    """`global`: n counts all layers together; `local`: every layer loses the same share."""
    refit: bool = False
    """Refit the kept weights of each layer to its dense outputs on calibration inputs, by least squares."""
    fine_tune_epochs: Annotated[int, Ge(0)] = 0
    bn_reset: bool = False
    """Estimate batch-norm statistics again on calibration inputs, last of all."""
    calibration_samples: Annotated[int, Ge(1)] = 512
    """Training examples for `refit` and `bn_reset`."""
    skip: tuple[str, ...] = ()
    """Dotted names of layers to leave dense; they do not count in n."""

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        from harness.compression.numerics.counting import claims
        from harness.compression.numerics.masks import keep_largest
        from harness.compression.numerics.retrain import prune_and_retrain

        network = copy.deepcopy(module).eval()
        masks = keep_largest({name: w.abs() for name, w in self._weights(network).items()}, self.sparsity, self.scope)
        left_alone = dict.fromkeys(self.skip, "named in `skip`")
        if self.refit:
            left_alone |= _refit(network, masks, self._calibration(data, context))
        prune_and_retrain(network, masks, module, data, context, self, self.calibration_samples if self.bn_reset else 0)
        counted = claims(network, data.spec.example(), sparse=True)
        return Compressed.single(network, counted, log=tuple(context.events), left_alone=left_alone)

    def _calibration(self, data: Data, context: Context) -> torch.Tensor:
        """The same examples that `bn_reset` sees."""
        import torch

        from harness.compression.numerics.calibration import calibration_inputs

        return torch.tensor(calibration_inputs(data, self.calibration_samples, context.rng("calibration")))

    def _weights(self, network: nn.Module) -> dict[str, torch.Tensor]:
        from harness.compression.numerics.layers import weighted_layers, without

        layers = without(weighted_layers(network), self.skip)
        if not layers:
            raise UserError("magnitude_prune: `skip` names every layer, nothing is left to prune; shorten it")
        return {name: layer.weight.detach() for name, layer in layers.items()}


def _refit(network: nn.Module, masks: dict[str, torch.Tensor], inputs: torch.Tensor) -> dict[str, str]:
    """Refit in place; the layers that were only masked, and why."""
    from harness.compression.numerics.refit import can_refit, refit, second_moments

    fitted = [name for name in masks if can_refit(network.get_submodule(name))]
    refit(network, masks, second_moments(network, fitted, inputs))
    reason = "masked, not refitted: `refit` knows Conv2d (zero padding in numbers) and Linear"
    return {name: reason for name in masks if name not in fitted}


METHOD = MagnitudePrune
