"""Channel pruning: remove the filters of smallest L1 norm, and all that depends on them (Li et al. 2017, arXiv:1608.08710)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Gt, Lt

from harness.compression import Compressed, Numeric
from harness.compression.numerics.tuning import Tuning

if TYPE_CHECKING:
    from torch import nn

    from harness.context import Context
    from harness.data import Data


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelPrune(Tuning):
    """The network that comes out is really smaller: no masks, no zeros. Channels that an addition ties leave together."""

    numeric: ClassVar[Numeric] = "float32"

    ratio: Annotated[float, Gt(0), Lt(1)]
    """Share of the channels that every group loses (rounded; at least one stays)."""
    round_to: Annotated[int, Ge(1)] = 1
    """Keep a multiple of so many channels, for kernels that work on vectors; rounds towards keeping."""
    fine_tune_epochs: Annotated[int, Ge(0)] = 0
    bn_reset: bool = False
    """Estimate batch-norm statistics again on calibration inputs, last of all."""
    calibration_samples: Annotated[int, Ge(1)] = 512
    """Training examples for `bn_reset`."""

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        import torch

        from harness.compression.numerics.batchnorm import reset_batchnorm
        from harness.compression.numerics.calibration import calibration_inputs
        from harness.compression.numerics.counting import claims
        from harness.compression.numerics.dependency import dependencies
        from harness.compression.numerics.shrink import check_runs, l1_norms, shrunk, smallest

        network = copy.deepcopy(module).eval()
        found = dependencies(network, data.spec.example())
        edits = [
            edit for group in found.groups for edit in group.edits(smallest(l1_norms(network, group), self.ratio, self.round_to))
        ]
        network = shrunk(network, edits)
        check_runs(network, module, data.spec.example())
        context.log("edits", edits=[str(edit) for edit in edits if edit.indices])
        context.log("validation", stage="pruned", **context.evaluate(network))
        if self.fine_tune_epochs:
            context.train(network, self.recipe(context, self.fine_tune_epochs), loss=self.loss(module, context))
        if self.bn_reset:
            inputs = calibration_inputs(data, self.calibration_samples, context.rng("calibration"))
            context.log("bn_reset", layers=reset_batchnorm(network, torch.tensor(inputs)))
        context.log("validation", stage="final", **context.evaluate(network))
        counted = claims(network, data.spec.example())
        return Compressed.single(network, counted, log=tuple(context.events), left_alone=found.left_alone)


METHOD = ChannelPrune
