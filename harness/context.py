"""Context: what a method may ask of the harness while it compresses. Nothing else of the harness is a method's business."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from harness.data import Data
    from harness.train import Recipe


@dataclass(frozen=True)
class Context:
    """Seed, training, evaluation on held-out search data, a journal to resume from, and a log."""

    seed: int
    data: Data
    recipe: Recipe
    """The model's own training recipe; fine-tuning derives from it."""
    journal: Path
    """A folder that survives a kill: a method keeps its resumable state here."""
    on_progress: Callable[[str, float], None] = lambda _what, _share: None
    events: list[dict[str, Any]] = field(default_factory=list)

    def rng(self, name: str) -> np.random.Generator:
        """A generator of its own for each named use, so that adding one use never shifts another."""
        raise NotImplementedError

    def log(self, event: str, **facts: Any) -> None:
        """Keep an event of the training or search log."""
        self.events.append({"event": event, **facts})

    def train(self, module: nn.Module, recipe: Recipe, *, after_step: Callable[[nn.Module], None] | None = None) -> None:
        """Train in place on the training split; `after_step` runs after each optimizer step (masks)."""
        raise NotImplementedError

    def evaluate(self, module: nn.Module) -> Mapping[str, float]:
        """Metrics on the validation split, never on the test split."""
        raise NotImplementedError
