"""A multi-layer perceptron: linear layers with ReLU between them, for inputs of any shape."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge

from harness.criterion import CLASSIFICATION, Criterion
from harness.train import Augment, Recipe

if TYPE_CHECKING:
    from torch import nn

    from harness.data import DataSpec


@dataclass(frozen=True, slots=True)
class Mlp:
    criterion: ClassVar[Criterion] = CLASSIFICATION

    data: str = "digits"
    hidden: tuple[Annotated[int, Ge(1)], ...] = (128, 64)
    """Widths of the layers between input and classes."""
    epochs: Annotated[int, Ge(0)] = 40
    augment: Augment = "none"
    weights: str = ""

    def accepts(self, spec: DataSpec) -> str | None:
        if spec.dtype != "float32":
            return f"mlp takes float32 arrays, not {spec.dtype} {list(spec.input_shape)}"
        if self.augment != "none" and len(spec.input_shape) != 3:
            return f"mlp: `augment: {self.augment}` moves images [channels, height, width], not {list(spec.input_shape)}"
        return None

    def build(self, spec: DataSpec) -> nn.Module:
        from torch import nn

        layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
        widths = (math.prod(spec.input_shape), *self.hidden)
        for number, (inputs, outputs) in enumerate(itertools.pairwise(widths), start=1):
            layers[f"linear{number}"] = nn.Linear(inputs, outputs)
            layers[f"relu{number}"] = nn.ReLU()
        layers["classifier"] = nn.Linear(widths[-1], spec.classes)
        return nn.Sequential(layers)

    def recipe(self) -> Recipe:
        return Recipe(
            self.epochs, learning_rate=5e-3, weight_decay=1e-2, warmup_epochs=0.5, label_smoothing=0.1, augment=self.augment
        )


MODEL = Mlp
