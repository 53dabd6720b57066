"""What the networks' tests share: counting, and the networks that MLPerf Tiny published."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from harness.compression.numerics.counting import claims
from harness.compression.numerics.fold import fold_batchnorm
from harness.compression.numerics.layers import weighted_layers
from harness.data import DataSpec
from harness.models import Model

torch.set_num_threads(1)  # another number sums in another order, and tests that run side by side would only wait for each other


class Counts(NamedTuple):
    parameters: int
    with_statistics: int
    """As Keras counts: means and variances of batch-norm too."""
    macs: int


@pytest.fixture
def counted() -> Callable[[Model, DataSpec], Counts]:
    def count(model: Model, spec: DataSpec) -> Counts:
        network = model.build(spec)
        claimed = claims(network, spec.example())
        statistics = sum(b.numel() for name, b in network.named_buffers() if not name.endswith("num_batches_tracked"))
        return Counts(claimed.params, claimed.params + statistics, claimed.macs)

    return count


class Published(NamedTuple):
    network: nn.Module
    """Ours, batch-norm folded, with the file's weights."""
    answer: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
    """What the file's own runtime answers to [1, *input_shape], channels first."""


@pytest.fixture
def with_published_weights() -> Callable[[nn.Module, str], Published]:
    """Puts the weights of a TFLite file in $ASSAY_DATA/models into a network, layer by layer; skips where the file is missing."""

    def load(network: nn.Module, name: str) -> Published:
        file = Path(os.environ.get("ASSAY_DATA", "")) / "models" / name
        if not file.is_file():
            pytest.skip(f"{name} is not in $ASSAY_DATA/models")
        interpreter = _interpreter(file)
        folded = fold_batchnorm(network)
        layers = [op["inputs"][1:] for op in interpreter._get_ops_details() if op["op_name"] in _WEIGHTED]
        for layer, tensors in zip(weighted_layers(folded).values(), layers, strict=True):
            weight, bias = (_real(interpreter, index) for index in tensors)
            if isinstance(layer, nn.Conv2d) and layer.groups > 1:
                weight = weight.permute(3, 0, 1, 2)  # [1, h, w, channels]
            elif weight.dim() == 4:
                weight = weight.permute(0, 3, 1, 2)
            assert layer.bias is not None
            assert weight.shape == layer.weight.shape
            with torch.no_grad():
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)
        return Published(folded, lambda inputs: _answer(interpreter, inputs))

    return load


_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def _interpreter(file: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(str(file), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    return interpreter


def _real(interpreter: Any, index: int) -> torch.Tensor:
    """A constant of the file; DS-CNN's weights are stored in 8 bits even in its float32 file."""
    detail = next(d for d in interpreter.get_tensor_details() if d["index"] == index)
    stored, quantized = interpreter.get_tensor(index), detail["quantization_parameters"]
    if not len(quantized["scales"]):
        return torch.from_numpy(stored.copy())
    shape = [1] * stored.ndim
    shape[quantized["quantized_dimension"]] = len(quantized["scales"])
    return torch.from_numpy(stored.astype(np.float32) * quantized["scales"].reshape(shape))


def _answer(interpreter: Any, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    given, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.set_tensor(given["index"], inputs.transpose(0, 2, 3, 1) if inputs.ndim == 4 else inputs)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(result["index"]))
