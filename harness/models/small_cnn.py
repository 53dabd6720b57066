"""A small convolutional network: three 3x3 convolutions with batch-norm, one stride of 2, a global average, a linear layer."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge

from harness.criterion import CLASSIFICATION, Criterion
from harness.models import not_images
from harness.train import Augment, Recipe

if TYPE_CHECKING:
    from torch import nn

    from harness.data import DataSpec


@dataclass(frozen=True, slots=True)
class SmallCnn:
    criterion: ClassVar[Criterion] = CLASSIFICATION

    data: str = "digits"
    width: Annotated[int, Ge(1)] = 16
    """Channels of the first convolution; the others have twice as many."""
    epochs: Annotated[int, Ge(0)] = 20
    augment: Augment = "none"
    weights: str = ""

    def accepts(self, spec: DataSpec) -> str | None:
        return not_images("small_cnn", spec, 2)

    def build(self, spec: DataSpec) -> nn.Module:
        from torch import nn

        channels, wide = spec.input_shape[0], 2 * self.width
        return nn.Sequential(
            OrderedDict[str, nn.Module](
                conv1=nn.Conv2d(channels, self.width, 3, padding=1, bias=False),
                bn1=nn.BatchNorm2d(self.width),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(self.width, wide, 3, stride=2, padding=1, bias=False),
                bn2=nn.BatchNorm2d(wide),
                relu2=nn.ReLU(),
                conv3=nn.Conv2d(wide, wide, 3, padding=1, bias=False),
                bn3=nn.BatchNorm2d(wide),
                relu3=nn.ReLU(),
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                classifier=nn.Linear(wide, spec.classes),
            )
        )

    def recipe(self) -> Recipe:
        return Recipe(
            self.epochs, learning_rate=4e-3, weight_decay=1e-2, warmup_epochs=0.5, label_smoothing=0.1, augment=self.augment
        )


MODEL = SmallCnn
