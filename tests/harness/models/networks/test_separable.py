from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from harness.models.networks.separable import SamePad, Separable, ds_cnn, mobilenet_v1

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("size", [5, 8, 13, 48, 49])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (10, 2), (4, 2), (5, 3), (1, 2)])
def test_padding_is_tensorflows_same(size: int, kernel: int, stride: int) -> None:
    """Output i reads from i * stride - before on, where before is half of what is added, rounded down, and ceil(size / stride) come out."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    x = torch.arange(1.0, size + 1).view(1, 1, size, 1)
    padded = SamePad(size, 1, (kernel, 1), stride)(x).flatten().tolist()
    assert padded == [0.0] * (total // 2) + x.flatten().tolist() + [0.0] * (total - total // 2)
    assert len(functional.conv1d(torch.tensor(padded).view(1, 1, -1), torch.ones(1, 1, kernel), stride=stride)[0, 0]) == outputs


def test_a_separable_convolution_is_two_of_rank_one_in_channels() -> None:
    """Depthwise then pointwise is the full convolution with kernel[o, i] = pointwise[o, i] * depthwise[i]."""
    block = Separable(3, 5, height=6, width=7).eval()
    part = dict(block.named_children())
    depthwise, pointwise = part["depthwise"], part["pointwise"]
    assert isinstance(depthwise, nn.Conv2d) and isinstance(pointwise, nn.Conv2d)
    for layer in (depthwise, pointwise):
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
        nn.init.uniform_(layer.weight)  # ReLU in between changes nothing above 0
    x = torch.rand(2, 3, 6, 7)
    full = pointwise.weight * depthwise.weight[:, 0][None]
    with torch.no_grad():
        assert torch.allclose(block(x), functional.conv2d(x, full, padding=1) / (1 + 1e-5), atol=1e-4)


@pytest.mark.parametrize("size", [(49, 10), (48, 10), (4, 4), (5, 7), (31, 13)])
def test_ds_cnn_takes_other_features(size: tuple[int, int]) -> None:
    assert ds_cnn(1, *size, 12, 4).eval()(torch.zeros(3, 1, *size)).shape == (3, 12)


def test_mobilenet_halves_the_resolution_five_times() -> None:
    network = mobilenet_v1(3, 97, 64, 5, 0.1).eval()
    seen: list[torch.Size] = []
    network.get_submodule("pool").register_forward_pre_hook(lambda _module, given: seen.append(given[0].shape))
    assert network(torch.zeros(2, 3, 97, 64)).shape == (2, 5)
    assert seen == [(2, 102, 4, 2)]
