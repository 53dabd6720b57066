"""DS-CNN, the keyword spotting network of MLPerf Tiny (Zhang et al. 2017, arXiv:1711.07128).

For 1x49x10 features and 12 classes it has the published 24,908 parameters (batch-norm statistics counted) and 2.66 M MACs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge

from harness.criterion import CLASSIFICATION, Criterion
from harness.models import not_images
from harness.train import Recipe

if TYPE_CHECKING:
    from torch import nn

    from harness.data import DataSpec


@dataclass(frozen=True, slots=True)
class DsCnn:
    criterion: ClassVar[Criterion] = CLASSIFICATION

    data: str = "speech_commands"
    filters: Annotated[int, Ge(1)] = 64
    """Channels of every convolution."""
    epochs: Annotated[int, Ge(0)] = 36
    weights: str = ""

    def accepts(self, spec: DataSpec) -> str | None:
        return not_images("ds_cnn", spec, 4)

    def build(self, spec: DataSpec) -> nn.Module:
        from harness.models.networks.separable import ds_cnn

        channels, height, width = spec.input_shape
        return ds_cnn(channels, height, width, spec.classes, self.filters)

    def recipe(self) -> Recipe:
        return Recipe(self.epochs, learning_rate=4e-3, weight_decay=1e-2, warmup_epochs=1.0)


MODEL = DsCnn
