"""An ONNX file of your own, measured as it is (method `float32`) on every backend that reads it, and judged on the data you name.

`onnx_file: {path: my.onnx, data: "npz_file(path=my.npz)"}`. Its answers are compared with those of ONNX Runtime without any rewriting. Every other
method changes its layers, made anew in PyTorch (`harness/models/networks/onnx_network.py`): what cannot be made is `unsupported`, naming the node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Gt

from harness.models import FileModel
from harness.train import Recipe
from harness.weights import weights_file

if TYPE_CHECKING:
    from torch import nn

    from harness.data import DataSpec


@dataclass(frozen=True, slots=True)
class OnnxFile(FileModel):
    suffix: ClassVar[str] = ".onnx"
    has_layers: ClassVar[bool] = True

    learning_rate: Annotated[float, Gt(0)] = 1e-3
    """Of AdamW, by which methods that train do so."""

    def build(self, spec: DataSpec) -> nn.Module:
        """With the file's weights. Unsupported, naming the node, where PyTorch's layers cannot be made of it."""
        from harness.models.networks.onnx_network import network_of
        from harness.own_file import check_file

        path = weights_file(self.path)
        return network_of(path, check_file(self, path, spec)["layout"] == "NHWC")

    def recipe(self) -> Recipe:
        return Recipe(0, learning_rate=self.learning_rate)


MODEL = OnnxFile
