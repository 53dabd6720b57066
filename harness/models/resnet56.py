"""ResNet-56 for CIFAR (He et al. 2016, sec. 4.2): 853,018 parameters and 125.5 M MACs at 3x32x32.

Loads the state dict of akamaster/pytorch_resnet_cifar10: `weights: $ASSAY_DATA/models/akamaster_resnet56_cifar10.safetensors`.
"""

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
class ResNet56:
    criterion: ClassVar[Criterion] = CLASSIFICATION

    data: str = "cifar10(scale=imagenet)"
    width: Annotated[int, Ge(1)] = 16
    """Channels of the first stage; the second has twice, the third four times as many."""
    epochs: Annotated[int, Ge(0)] = 40
    augment: Augment = "crop_flip"
    weights: str = ""

    def accepts(self, spec: DataSpec) -> str | None:
        return not_images("resnet56", spec, 4)

    def build(self, spec: DataSpec) -> nn.Module:
        from harness.models.networks.resnet_cifar import CifarResNet

        return CifarResNet(spec.input_shape[0], spec.classes, blocks=9, width=self.width)

    def recipe(self) -> Recipe:
        return sgd(self.epochs, self.augment)


MODEL = ResNet56
