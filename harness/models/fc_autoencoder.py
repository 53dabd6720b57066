"""The autoencoder of MLPerf Tiny's anomaly detection: 269,992 parameters (batch-norm statistics counted), 264 k MACs for 640 inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge

from harness.criterion import Criterion
from harness.train import Recipe

if TYPE_CHECKING:
    from torch import nn

    from harness.data import DataSpec


@dataclass(frozen=True, slots=True)
class FcAutoencoder:
    criterion: ClassVar[Criterion] = Criterion(("auc",), "reconstruction")

    data: str = "toyadmos_folder"
    width: Annotated[int, Ge(1)] = 128
    code: Annotated[int, Ge(1)] = 8
    """Features that the input is squeezed into."""
    epochs: Annotated[int, Ge(0)] = 100
    weights: str = ""

    def accepts(self, spec: DataSpec) -> str | None:
        if spec.dtype == "float32" and len(spec.input_shape) == 1 and spec.classes == 2:
            return None
        return f"fc_autoencoder takes vectors labelled normal or anomaly, not {spec.dtype} {list(spec.input_shape)} of {spec.classes} classes"

    def build(self, spec: DataSpec) -> nn.Module:
        from harness.models.networks.autoencoder import autoencoder

        return autoencoder(spec.input_shape[0], self.width, self.code)

    def recipe(self) -> Recipe:
        return Recipe(self.epochs, batch_size=512, learning_rate=1e-3, weight_decay=0.0)


MODEL = FcAutoencoder
