"""ResNet-8, the image classification network of MLPerf Tiny.

For 3x32x32 inputs and width 16 it has the published 78,666 parameters (batch-norm statistics counted, as Keras counts) and 12.5 M MACs.
One thing differs: TensorFlow pads a convolution of stride 2 below and to the right only, this one on all sides.
"""

from __future__ import annotations

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
class ResNet8Model:
    criterion: ClassVar[Criterion] = CLASSIFICATION

    data: str = "fashion_mnist"
    width: Annotated[int, Ge(1)] = 16
    """Channels of the first block; the second has twice, the third four times as many."""
    epochs: Annotated[int, Ge(0)] = 10
    augment: Augment = "crop_flip"
    weights: str = ""

    def accepts(self, spec: DataSpec) -> str | None:
        return not_images("resnet8", spec, 4)

    def build(self, spec: DataSpec) -> nn.Module:
        from harness.models.networks.resnet8 import ResNet8

        return ResNet8(spec.input_shape[0], spec.classes, self.width)

    def recipe(self) -> Recipe:
        return Recipe(self.epochs, batch_size=128, learning_rate=4e-3, weight_decay=1e-2, warmup_epochs=0.5, augment=self.augment)


MODEL = ResNet8Model
