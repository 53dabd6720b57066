"""A TFLite file of your own, measured as it is (method `float32`) on every backend that reads it, and judged on the data you name.

`tflite_file: {path: my.tflite, data: "npz_file(path=my.npz)"}`. Its answers are compared with those of LiteRT's reference kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.compression import Numeric
from harness.criterion import Criterion, Metric
from harness.errors import UserError
from harness.train import Recipe

if TYPE_CHECKING:
    from torch import nn

    from harness.data import DataSpec


@dataclass(frozen=True, slots=True)
class TFLiteFile:
    suffix: ClassVar[str] = ".tflite"

    path: str
    data: str
    numeric: Numeric = "float32"
    """`int8` for a quantized file: answers are then compared as integers' are."""
    metric: Metric = "top1"
    """What the data's labels judge: `auc` too of class scores for two classes."""
    reconstructs: bool = False
    """Whether it answers with its inputs over again, of which `auc` is judged."""

    @property
    def criterion(self) -> Criterion:
        return Criterion((self.metric,), "reconstruction" if self.reconstructs else "class_scores")

    @property
    def weights(self) -> str:
        return self.path

    def accepts(self, spec: DataSpec) -> str | None:  # noqa: ARG002 - the file says, once it is read
        return None

    def build(self, spec: DataSpec) -> nn.Module:  # noqa: ARG002
        raise UserError(f"{self.path} is a file, with no layers to train, compress or measure alone")

    def recipe(self) -> Recipe:
        return Recipe(0)


MODEL = TFLiteFile
