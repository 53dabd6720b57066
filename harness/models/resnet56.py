"""ResNet-56 for CIFAR (He et al. 2016, sec. 4.2): 853,018 parameters and 125.5 M MACs at 3x32x32.

Loads the state dict of akamaster/pytorch_resnet_cifar10: `weights: $ASSAY_DATA/models/akamaster_resnet56_cifar10.safetensors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge

from harness.models import ResidualNetwork

if TYPE_CHECKING:
    from torch import nn

    from harness.data import DataSpec


@dataclass(frozen=True, slots=True)
class ResNet56(ResidualNetwork):
    name: ClassVar[str] = "resnet56"
    least_pixels: ClassVar[int] = 4

    data: str = "cifar10(scale=imagenet)"
    width: Annotated[int, Ge(1)] = 16
    """Channels of the first stage; the second has twice, the third four times as many."""

    def build(self, spec: DataSpec) -> nn.Module:
        from harness.models.networks.resnet_cifar import CifarResNet

        return CifarResNet(spec.input_shape[0], spec.classes, blocks=9, width=self.width)


MODEL = ResNet56
