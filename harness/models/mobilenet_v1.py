"""MobileNetV1 (Howard et al. 2017, arXiv:1704.04861), by default MLPerf Tiny's visual wake words network.

At width 0.25, 3x96x96 and 2 classes it has the published 221,794 parameters (batch-norm statistics counted) and 7.49 M MACs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from harness.criterion import CLASSIFICATION, Criterion
from harness.models import not_images
from harness.train import Augment, Recipe

if TYPE_CHECKING:
    from torch import nn

    from harness.data import DataSpec


@dataclass(frozen=True, slots=True)
class MobileNetV1:
    criterion: ClassVar[Criterion] = CLASSIFICATION

    data: str = "vww_folder"
    width: Annotated[float, Gt(0), Le(4)] = 0.25
    """Multiplies the channels of every layer; 1 has 32 in the first."""
    epochs: Annotated[int, Ge(0)] = 50
    augment: Augment = "crop_flip"
    weights: str = ""

    def accepts(self, spec: DataSpec) -> str | None:
        return not_images("mobilenet_v1", spec, 8)

    def build(self, spec: DataSpec) -> nn.Module:
        from harness.models.networks.separable import mobilenet_v1

        channels, height, width = spec.input_shape
        return mobilenet_v1(channels, height, width, spec.classes, self.width)

    def recipe(self) -> Recipe:
        return Recipe(self.epochs, batch_size=32, learning_rate=1e-3, weight_decay=1e-4, augment=self.augment, threads=2)


MODEL = MobileNetV1
