"""What follows once it is decided which weights go: zero them, train the others, set batch-norm anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from harness.compression.numerics.batchnorm import reset_batchnorm
from harness.compression.numerics.calibration import calibration_inputs
from harness.compression.numerics.masks import apply_masks

if TYPE_CHECKING:
    from harness.compression.numerics.tuning import Tuning
    from harness.context import Context
    from harness.data import Data


def prune_and_retrain(
    network: nn.Module,
    masks: Mapping[str, torch.Tensor],
    dense: nn.Module,
    data: Data,
    context: Context,
    tuning: Tuning,
    bn_samples: int,
    examples: int | None = None,
) -> None:
    """In place; what a mask removes stays zero. `dense` may teach; `bn_samples` training examples set batch-norm last of all, 0: it stays.

    `examples`: of the validation split, that each stage's quality is logged on; None: all.
    """
    context.log("masks", density={name: float(mask.double().mean()) for name, mask in masks.items()})
    apply_masks(network, masks)
    context.log("validation", stage="pruned", **context.evaluate(network, examples))
    if tuning.fine_tune_epochs:
        retrain(network, masks, dense, context, tuning)
    if bn_samples:
        inputs = torch.tensor(calibration_inputs(data, bn_samples, context.rng("calibration")))
        context.log("bn_reset", layers=reset_batchnorm(network, inputs))
    context.log("validation", stage="final", **context.evaluate(network, examples))


def retrain(network: nn.Module, masks: Mapping[str, torch.Tensor], dense: nn.Module, context: Context, tuning: Tuning) -> None:
    """In place; what a mask removes stays zero. `dense` may teach."""
    context.train(
        network,
        tuning.recipe(context, tuning.fine_tune_epochs),
        loss=tuning.loss(dense, context),
        after_step=lambda trained: apply_masks(trained, masks),
    )
