"""VGG-16 with batch-norm for CIFAR (Simonyan, Zisserman 2015): 14,728,266 parameters and 313 M MACs at 3x32x32."""

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
class Vgg16:
    criterion: ClassVar[Criterion] = CLASSIFICATION

    data: str = "cifar10"
    width: Annotated[int, Ge(1)] = 64
    """Channels of the first stage."""
    epochs: Annotated[int, Ge(0)] = 40
    augment: Augment = "crop_flip"
    weights: str = ""

    def accepts(self, spec: DataSpec) -> str | None:
        return not_images("vgg16", spec, 32)

    def build(self, spec: DataSpec) -> nn.Module:
        from harness.models.networks.vgg import vgg16

        return vgg16(spec.input_shape[0], spec.classes, self.width)

    def recipe(self) -> Recipe:
        return sgd(self.epochs, self.augment, 0.05, 5e-4)


MODEL = Vgg16
