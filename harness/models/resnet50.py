"""ResNet-50 (He et al. 2016, table 1): 25,557,032 parameters and 4.09 G MACs at 3x224x224. Loads torchvision's state dict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge

from harness.criterion import CLASSIFICATION, Criterion
from harness.models import not_images, sgd
from harness.train import Augment

if TYPE_CHECKING:
    from torch import nn

    from harness.data import DataSpec
    from harness.train import Recipe


@dataclass(frozen=True, slots=True)
class ResNet50:
    criterion: ClassVar[Criterion] = CLASSIFICATION

    data: str = "imagenet_folder"
    width: Annotated[int, Ge(1)] = 64
    """Channels of the stem and the first stage; each further stage has twice as many."""
    epochs: Annotated[int, Ge(0)] = 40
    augment: Augment = "crop_flip"
    weights: str = ""

    def accepts(self, spec: DataSpec) -> str | None:
        return not_images("resnet50", spec, 8)

    def build(self, spec: DataSpec) -> nn.Module:
        from harness.models.networks.resnet import SMALL, Bottleneck, ResNet

        small = min(spec.input_shape[1:]) < SMALL
        return ResNet(Bottleneck, (3, 4, 6, 3), spec.input_shape[0], spec.classes, width=self.width, small=small)

    def recipe(self) -> Recipe:
        return sgd(self.epochs, self.augment)


MODEL = ResNet50
