"""The one training loop: seeded, resumable, with progress. Every network and every fine-tuning goes through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train: plain supervised cross-entropy with a cosine schedule."""

    epochs: int = 10
    batch_size: int = 64
    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    augment: Literal["none", "shift", "crop_flip"] = "none"
    """`shift`: random translation by up to 1 pixel in 8; `crop_flip`: pad 4, random crop, horizontal flip."""
