"""ResNet-56 for CIFAR (He et al. 2016, sec. 4.2): 853,018 parameters and 125.5 M MACs at 3x32x32.

Loads the state dict of akamaster/pytorch_resnet_cifar10: `weights: $ASSAY_DATA/models/akamaster_resnet56_cifar10.safetensors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.models.resnet20 import ResNet20


@dataclass(frozen=True, slots=True)
class ResNet56(ResNet20):
    name: ClassVar[str] = "resnet56"
    blocks: ClassVar[int] = 9


MODEL = ResNet56
