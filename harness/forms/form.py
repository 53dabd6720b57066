"""What a form's writer is given and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from harness.errors import BuildError

if TYPE_CHECKING:
    from torch import nn

    from harness.compression import Numeric, Quantization

Layout = Literal["NCHW", "NHWC"]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Source:
    """The network to write, and how it will be asked."""

    module: nn.Module
    example: npt.NDArray[Any]
    """[1, *input_shape] channels first; its values are of no consequence."""
    batch: int
    quantization: Quantization | None = None
    calibration: Floats | None = None
    """[n, *input_shape]; every row is used."""

    def sample(self) -> Any:
        """A tensor [batch, *input_shape] to trace with."""
        import torch

        return torch.from_numpy(np.repeat(self.example, self.batch, axis=0))

    def integers(self) -> tuple[Quantization, Floats]:
        """The quantization and calibration that an integer form cannot do without."""
        if self.quantization is None or self.calibration is None or len(self.calibration) == 0:
            raise BuildError(
                "an int8 form needs calibration inputs, and this network was compressed without; measure it in float32"
            )
        if (self.quantization.weight_bits, self.quantization.activation_bits) != (8, 8):
            raise ValueError(f"int8 forms hold 8-bit weights and activations, not {self.quantization}")
        return self.quantization, self.calibration


@dataclass(frozen=True)
class Written:
    """One form on disk as its writer left it."""

    path: Path
    facts: Mapping[str, Any]
    """`tools`, `ops`, `warnings`, `inputs`, `outputs`; of some int8 forms `activation_ranges`: `calibrated`, or `as they come`."""
    input_layout: Layout = "NCHW"
    output_layout: Layout = "NCHW"


@dataclass(frozen=True)
class Form:
    """One row of the table of forms."""

    numeric: Numeric
    write: Callable[[Source, Path], Written]
    """(source, folder) -> the file in that folder."""
    answer: Callable[[Path, Iterable[Floats]], list[Floats]]
    """(file, batches in the file's own layout) -> real outputs of each, from this form's own runtime on this machine."""


def channels_last(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[n, c, h, w] -> [n, h, w, c]; any other rank as it is."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array


def channels_first(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[n, h, w, c] -> [n, c, h, w]; any other rank as it is."""
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if array.ndim == 4 else array


def activation_ranges(quantization: Quantization) -> str:
    """Of forms whose kernels give float only for inputs that they range themselves, a row or a tensor at a time."""
    return "as they come" if quantization.tensors == "linear" else "calibrated"


def batches(array: Floats, batch: int) -> list[Floats]:
    """Chunks of exactly `batch` rows; the last is filled up by repeating its last row, which changes no minimum and no maximum."""
    padding = -len(array) % batch
    padded = np.concatenate([array, np.repeat(array[-1:], padding, axis=0)]) if padding else array
    return [padded[start : start + batch] for start in range(0, len(padded), batch)]


def tensor_fact(name: str, shape: Iterable[int], dtype: str) -> dict[str, Any]:
    """A tensor of the signature as it stands in `facts`."""
    return {"name": name, "shape": [int(size) for size in shape], "dtype": dtype}
