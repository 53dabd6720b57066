"""Knowledge distillation: a network learns from another's answers as well (Hinton, Vinyals, Dean 2015, arXiv:1503.02531, sec. 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from harness.criterion import Criterion
from harness.train import in_eval_mode

if TYPE_CHECKING:
    from harness.train import Loss


def distilled(teacher: nn.Module, criterion: Criterion, share: float, temperature: float) -> Loss:
    """(1 - share) * plain loss + share * distance from the teacher, who sees the same inputs and is never changed.

    Class scores: T^2 * KL(softmax(teacher / T) || softmax(student / T)), in nats, which gives gradients of one size at any temperature T.
    A reconstruction: mean squared distance from the teacher's.
    """

    def loss(_module: nn.Module, inputs: torch.Tensor, outputs: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
        with in_eval_mode(teacher), torch.no_grad():
            wanted = teacher(inputs)
        if criterion.outputs == "reconstruction":
            distance = functional.mse_loss(outputs, wanted)
        else:
            student, target = (functional.log_softmax(scores / temperature, dim=1) for scores in (outputs, wanted))
            distance = temperature**2 * functional.kl_div(student, target, reduction="batchmean", log_target=True)
        return (1 - share) * plain + share * distance

    return loss
