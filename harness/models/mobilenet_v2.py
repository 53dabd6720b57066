"""MobileNetV2 (Sandler et al. 2018): 3,504,872 parameters and 300.8 M MACs at width 1, 3x224x224. Loads torchvision's state dict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from harness.criterion import CLASSIFICATION, Criterion
from harness.models import not_images, sgd
from harness.train import Augment

if TYPE_CHECKING:
    from torch import nn

    from harness.data import DataSpec
    from harness.train import Recipe


@dataclass(frozen=True, slots=True)
class MobileNetV2:
    criterion: ClassVar[Criterion] = CLASSIFICATION

    data: str = "imagenet_folder"
    width: Annotated[float, Gt(0), Le(4)] = 1.0
    """Multiplies the channels of every layer, rounded to multiples of 8; the last one never has fewer than 1280."""
    epochs: Annotated[int, Ge(0)] = 40
    augment: Augment = "crop_flip"
    weights: str = ""

    def accepts(self, spec: DataSpec) -> str | None:
        return not_images("mobilenet_v2", spec, 8)

    def build(self, spec: DataSpec) -> nn.Module:
        from harness.models.networks.inverted import SMALL, mobilenet_v2

        small = min(spec.input_shape[1:]) < SMALL
        return mobilenet_v2(spec.input_shape[0], spec.classes, multiplier=self.width, small=small)

    def recipe(self) -> Recipe:
        return sgd(self.epochs, self.augment, 0.05, 4e-5)


MODEL = MobileNetV2
