"""ResNet-50 (He et al. 2016, table 1): 25,557,032 parameters and 4.09 G MACs at 3x224x224. Loads torchvision's state dict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.models.resnet18 import ResNet18


@dataclass(frozen=True, slots=True)
class ResNet50(ResNet18):
    name: ClassVar[str] = "resnet50"
    blocks: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)
    are_bottlenecks: ClassVar[bool] = True


MODEL = ResNet50
