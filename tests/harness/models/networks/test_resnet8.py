from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.compression.numerics.counting import weight_uses
from harness.compression.numerics.layers import weighted_layers
from harness.models.networks.resnet8 import ResNet8

pytestmark = pytest.mark.torch

TFLITE = Path(os.environ.get("ASSAY_DATA", "")) / "models" / "mlperf_tiny_ic_resnet8_fp32.tflite"
LAYERS = {  # name: (weights, output pixels) of a 3x32x32 input, by hand
    "conv": (3 * 16 * 9, 32 * 32),
    "block1.conv1": (16 * 16 * 9, 32 * 32),
    "block1.conv2": (16 * 16 * 9, 32 * 32),
    "block2.conv1": (16 * 32 * 9, 16 * 16),
    "block2.conv2": (32 * 32 * 9, 16 * 16),
    "block2.shortcut": (16 * 32, 16 * 16),
    "block3.conv1": (32 * 64 * 9, 8 * 8),
    "block3.conv2": (64 * 64 * 9, 8 * 8),
    "block3.shortcut": (32 * 64, 8 * 8),
    "classifier": (64 * 10, 1),
}


def test_parameters_are_the_published_78666_with_batchnorm_statistics() -> None:
    network = ResNet8(3, 10, 16)
    statistics = sum(b.numel() for name, b in network.named_buffers() if not name.endswith("num_batches_tracked"))
    assert sum(p.numel() for p in network.parameters()) + statistics == 78_666
    assert statistics == 2 * 240


def test_macs_are_the_published_12_5_million() -> None:
    network = ResNet8(3, 10, 16)
    layers = weighted_layers(network)
    uses = weight_uses(network, np.zeros((1, 3, 32, 32), np.float32))
    assert {name: (layer.weight.numel(), uses[f"{name}.weight"]) for name, layer in layers.items()} == LAYERS
    assert sum(weights * pixels for weights, pixels in LAYERS.values()) == 12_501_632


@pytest.mark.skipif(not TFLITE.is_file(), reason="mlperf_tiny_ic_resnet8_fp32.tflite is not in $ASSAY_DATA/models")
def test_weights_have_the_shapes_of_mlperf_tinys_own_file() -> None:
    from ai_edge_litert.interpreter import Interpreter

    tensors = Interpreter(str(TFLITE)).get_tensor_details()
    theirs = Counter(tuple(t["shape"].tolist()) for t in tensors if len(t["shape"]) == 4 and t["shape"][0] != 1)
    convolutions = [layer for name, layer in weighted_layers(ResNet8(3, 10, 16)).items() if name != "classifier"]
    ours = Counter((w.shape[0], *w.shape[2:], w.shape[1]) for w in (layer.weight for layer in convolutions))
    assert theirs == ours


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8), (2, 5, 7)])
def test_it_adapts_to_its_input(shape: tuple[int, ...]) -> None:
    network = ResNet8(shape[0], 7, 4).eval()
    assert network(torch.zeros(3, *shape)).shape == (3, 7)


def test_the_residual_reaches_the_output() -> None:
    network = ResNet8(1, 10, 4).eval()
    x = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        before = network(x)
        network.block1.conv2.weight.zero_()  # the block then gives what comes in around it
        network.block1.bn2.running_mean.copy_(network.block1.conv2.bias)  # type: ignore[union-attr, arg-type]
        around = network.relu(network.bn(network.conv(x)))
        assert torch.allclose(network.block1(around), around)
        assert not torch.allclose(network(x), before)
