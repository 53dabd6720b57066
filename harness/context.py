"""Context: what a method may ask of the harness while it compresses. Nothing else of the harness is a method's business."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.train import Loss, Recipe, derived_seed, evaluate, train

if TYPE_CHECKING:
    from torch import nn

    from harness.criterion import Criterion
    from harness.data import Data


@dataclass(frozen=True)
class Context:
    """Seed, training, evaluation on held-out search data, a journal to resume from, and a log."""

    seed: int
    data: Data
    recipe: Recipe
    """The model's own training recipe; fine-tuning derives from it."""
    criterion: Criterion
    journal: Path
    """A folder that survives a kill: a method keeps its resumable state here."""
    on_progress: Callable[[str, float], None] = lambda _what, _share: None
    start: nn.Module | None = None
    """For a method with `begins_at`: the network that its other configuration made, where the harness has made it already."""
    events: list[dict[str, Any]] = field(default_factory=list)
    _trainings: Iterator[int] = field(default_factory=itertools.count, init=False, repr=False, compare=False)

    def rng(self, name: str) -> np.random.Generator:
        """A generator of its own for each named use, so that adding one use never shifts another."""
        return np.random.default_rng(derived_seed(self.seed, "rng", name))

    def log(self, event: str, **facts: Any) -> None:
        """Keep an event of the training or search log."""
        self.events.append({"event": event, **facts})

    def train(
        self,
        module: nn.Module,
        recipe: Recipe,
        *,
        loss: Loss | None = None,
        before_step: Callable[[nn.Module], None] | None = None,
        after_step: Callable[[nn.Module], None] | None = None,
    ) -> None:
        """Train in place on the training split; `harness.train.train` says what the hooks may do (penalties, teachers, masks)."""
        number = next(self._trainings)
        train(
            module,
            self.data,
            recipe,
            seed=derived_seed(self.seed, "train", number),
            criterion=self.criterion,
            journal=self.journal / f"training-{number}",
            on_progress=self.on_progress,
            loss=loss,
            before_step=before_step,
            after_step=after_step,
            log=self.log,
        )

    def evaluate(self, module: nn.Module, examples: int | None = None) -> Mapping[str, float]:
        """Metrics on the validation split, or the first `examples` of it; never on the test split."""
        return evaluate(module, self.data.load("validation", examples), self.criterion)
