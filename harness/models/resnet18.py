"""ResNet-18 (He et al. 2016, table 1): 11,689,512 parameters and 1.81 G MACs at 3x224x224. Loads torchvision's state dict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge

from harness.models import ResidualNetwork

if TYPE_CHECKING:
    from torch import nn

    from harness.data import DataSpec


@dataclass(frozen=True, slots=True)
class ResNet18(ResidualNetwork):
    name: ClassVar[str] = "resnet18"
    least_pixels: ClassVar[int] = 8

    data: str = "imagenet_folder"
    width: Annotated[int, Ge(1)] = 64
    """Channels of the stem and the first stage; each further stage has twice as many."""

    def build(self, spec: DataSpec) -> nn.Module:
        from harness.models.networks.resnet import SMALL, Basic, ResNet

        small = min(spec.input_shape[1:]) < SMALL
        return ResNet(Basic, (2, 2, 2, 2), spec.input_shape[0], spec.classes, width=self.width, small=small)


MODEL = ResNet18
