"""What a method that trains lets a suite set of it: how long, how fast, and whether the dense network teaches.

Free of torch at the top: the plug-ins inherit from it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Le

if TYPE_CHECKING:
    from torch import nn

    from harness.context import Context
    from harness.train import Loss, Recipe


@dataclass(frozen=True, kw_only=True)  # without slots: a method may have another base that has them
class Tuning:
    """Parameters that every method has which fine-tunes."""

    fine_tune_epochs: Annotated[int, Ge(0)] = 1
    fine_tune_examples: Annotated[int, Ge(0)] = 0
    """Training examples that an epoch sees, drawn anew for each; 0: all."""
    rate: Annotated[float, Gt(0)] = 1.0
    """Highest learning rate, as a share of the model's own."""
    teacher: Annotated[float, Ge(0), Le(1)] = 0.0
    """Share of the loss that the dense network's answers decide (knowledge distillation); 0: none."""
    temperature: Annotated[float, Gt(0)] = 4.0
    """By which both networks' class scores are divided before they are compared."""

    def recipe(self, context: Context, epochs: int) -> Recipe:
        found = context.recipe.fine_tuning(epochs)
        return dataclasses.replace(found, learning_rate=self.rate * found.learning_rate, epoch_examples=self.fine_tune_examples)

    def loss(self, dense: nn.Module, context: Context) -> Loss | None:
        """With the dense network as teacher; None where the plain loss is all."""
        from harness.compression.numerics.distillation import distilled

        return distilled(dense, context.criterion, self.teacher, self.temperature) if self.teacher else None
