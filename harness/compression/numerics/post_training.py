"""What methods share that need no training: they solve each layer on calibration inputs, then set the statistics between layers right.

Free of torch at the top: the plug-ins inherit from it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt

from harness.compression import Compressed
from harness.compression.numerics.tuning import Tuning
from harness.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from harness.compression.numerics.layers import Layer
    from harness.compression.numerics.surgery import Option
    from harness.context import Context
    from harness.data import Data

Solver = Literal["obs", "refit", "plain"]
"""`obs`: weights leave, or go onto the grid, in the order of optimal brain surgery, and the others make up for them. The baselines: `plain`, the
smallest go and the rest is rounded to nearest; `refit`, the same but what stays is fitted to the layer's outputs before it is rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostTraining:
    """Parameters of every such method."""

    solver: Solver = "obs"
    """`obs`: optimal brain surgery. Baselines: `plain`, the smallest leave, the rest is rounded to nearest; `refit`, then least squares."""
    calibration_samples: Annotated[int, Ge(1)] = 1024
    """Training examples that the layers are solved on."""
    damping: Annotated[float, Gt(0)] = 1e-2
    """Added to each layer's Hessian, as a share of the mean of its diagonal."""
    bn_reset: bool = False
    """Estimate batch-norm statistics again on calibration inputs, last of all."""
    mean_std: bool = False
    """Give each normalization layer's outputs the mean and deviation a channel that the dense network's have, on calibration inputs."""
    skip: tuple[str, ...] = ()
    """Dotted names of layers to leave as they are."""

    def calibration(self, data: Data, context: Context) -> torch.Tensor:
        """[calibration_samples, ...] the same examples for every use."""
        import torch

        from harness.compression.numerics.calibration import calibration_inputs

        return torch.tensor(calibration_inputs(data, self.calibration_samples, context.rng("calibration")))

    def layers(self, network: nn.Module, options: Callable[[Layer], Sequence[Option] | str]) -> tuple[Plan, dict[str, str]]:
        """What may be done to each layer, and the layers that nothing may be done to, with the reasons; UserError where none is left."""
        from harness.compression.numerics.layers import weighted_layers, without
        from harness.compression.numerics.surgery import unfit

        plan, left_alone = {}, dict.fromkeys(self.skip, "named in `skip`")
        for name, layer in without(weighted_layers(network), self.skip).items():
            found = unfit(layer) or options(layer)
            if isinstance(found, str):
                left_alone[name] = found
            else:
                plan[name] = found
        if not plan:
            raise UserError(f"no layer is left to work on: {'; '.join(sorted(set(left_alone.values())))}")
        return plan, left_alone

    def finish(self, network: nn.Module, dense: nn.Module, inputs: torch.Tensor, context: Context) -> None:
        """Set the statistics right, in place, and log what each step gives."""
        from harness.compression.numerics.batchnorm import reset_batchnorm
        from harness.compression.numerics.native import compiled_loops
        from harness.compression.numerics.obs import LOOPS
        from harness.compression.numerics.statistics import correct_statistics

        if self.solver == "obs":
            context.log("loops", by="NumPy" if compiled_loops(LOOPS) is None else "C")
        context.log("validation", stage="compressed", **context.evaluate(network))
        if self.mean_std:
            context.log("mean_std", layers=correct_statistics(network, dense, inputs))
        if self.bn_reset:
            context.log("bn_reset", layers=reset_batchnorm(network, inputs))
        if self.mean_std or self.bn_reset:
            context.log("validation", stage="final", **context.evaluate(network))


@dataclass(frozen=True, slots=True, kw_only=True)
class Surgery(PostTraining, Tuning):
    """Parameters of those that remove weights: what is left may be trained afterwards."""

    fine_tune_epochs: Annotated[int, Ge(0)] = 0
    """Epochs of training in the end, in which what left stays zero."""

    def check_trainable(self, bits: object) -> None:
        """ValueError where training would undo what `bits` asks for."""
        if self.fine_tune_epochs and bits:
            raise ValueError(
                "training moves weights off the grids of `bits`: leave out `fine_tune_epochs` or `bits`, or see `qat`"
            )

    def fine_tune(self, network: nn.Module, dense: nn.Module, chosen: Chosen, context: Context) -> None:
        """In place, if that is asked for; the dense network may teach."""
        from harness.compression.numerics.retrain import retrain

        if self.fine_tune_epochs:
            masks = {name: network.get_parameter(f"{name}.weight") != 0 for name, option in chosen.items() if option.sparsity}
            retrain(network, masks, dense, context, self)
            context.log("validation", stage="final", **context.evaluate(network))


Plan = Mapping[str, "Sequence[Option]"]
"""Layer -> what may be done to it."""
Chosen = Mapping[str, "Option"]
"""Layer -> what is done to it."""


def uniform(
    method: PostTraining, module: nn.Module, data: Data, context: Context, option: Callable[[Layer], Option | str]
) -> tuple[nn.Module, Chosen, dict[str, str]]:
    """Every layer by its one option, or left alone for the reason that stands there: the network, what was done, and why not."""
    from harness.compression.numerics.surgery import UNREACHED, operations, remembered

    dense = copy.deepcopy(module).eval()
    network = copy.deepcopy(dense)
    plan, left_alone = method.layers(network, lambda layer: found if isinstance(found := option(layer), str) else (found,))
    inputs = method.calibration(data, context)
    chosen = {}
    for number, operation in enumerate(operations(dense, list(plan), inputs, method.damping)):
        context.on_progress(method.solver, number / len(plan))
        (weight,) = remembered(operation, plan[operation.name], method.solver, context.journal)
        put(network, operation.name, weight)
        (chosen[operation.name],) = plan[operation.name]
        context.log("layer", name=operation.name, option=str(chosen[operation.name]), error=operation.error(weight))
    method.finish(network, dense, inputs, context)
    return network, chosen, left_alone | {name: UNREACHED for name in plan if name not in chosen}


def made(network: nn.Module, chosen: Chosen, left_alone: dict[str, str], data: Data, context: Context) -> Compressed:
    """With claims that count each layer's own bits, the scales of its grids and the indices of its zeros."""
    from harness.compression.numerics.counting import claims
    from harness.compression.numerics.surgery import scales, stored_bits

    weights = {name: network.get_parameter(f"{name}.weight") for name in chosen}
    bits = {f"{name}.weight": stored_bits(weights[name], option) for name, option in chosen.items() if option.bits is not None}
    numbers = {f"{name}.weight": count for name, option in chosen.items() if (count := scales(weights[name], option))}
    counted = claims(network, data.spec.example(), sparse=True, scales=numbers, stored_bits=bits)
    return Compressed.single(network, counted, log=tuple(context.events), left_alone=left_alone)


def put(network: nn.Module, name: str, weight: torch.Tensor) -> None:
    """In the place of the layer's weight."""
    network.get_parameter(f"{name}.weight").data.copy_(weight)
