from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.compression.numerics.fold import fold_batchnorm, foldable
from harness.compression.numerics.layers import batchnorms
from harness.models.networks.resnet8 import ResNet8

pytestmark = pytest.mark.torch


def with_statistics(module: nn.Module) -> nn.Module:
    """As after a training: every parameter and statistic of the batch-norms differs from its first value."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for bn in batchnorms(module).values():
            assert bn.running_mean is not None
            assert bn.running_var is not None
            for tensor in (bn.weight, bn.bias, bn.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            bn.running_var.copy_(torch.rand(bn.running_var.shape, generator=generator) + 0.5)
    return module.eval()


class ReadTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        result: torch.Tensor = self.bn(y) + y
        return result


def test_folded_resnet_gives_the_same_answers_without_batchnorm() -> None:
    module = with_statistics(ResNet8(2, 10, 4))
    folded = fold_batchnorm(module)
    x = torch.randn(6, 2, 9, 9)
    assert not batchnorms(folded)
    assert type(folded) is ResNet8
    with torch.no_grad():
        expected = module(x)
        assert (folded(x) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_folding_linear_and_convolution(bias: bool, affine: bool) -> None:
    linear = nn.Sequential(nn.Linear(4, 6, bias=bias), nn.BatchNorm1d(6, affine=affine)).eval()
    depthwise = nn.Sequential(nn.Conv2d(4, 8, 3, groups=4, bias=bias), nn.BatchNorm2d(8, affine=affine)).eval()
    for module, x in ((linear, torch.randn(5, 4)), (depthwise, torch.randn(2, 4, 5, 5))):
        module.get_buffer("1.running_mean").normal_()
        with torch.no_grad():
            assert torch.allclose(fold_batchnorm(module)(x), module(x), atol=1e-5)


def test_the_argument_is_not_edited() -> None:
    module = with_statistics(ResNet8(1, 10, 2))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    fold_batchnorm(module)
    assert before.keys() == module.state_dict().keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize(
    "module",
    [
        ReadTwice(),
        nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3)),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2)),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)),
    ],
)
def test_what_cannot_be_folded_stays(module: nn.Module) -> None:
    x = torch.randn(3, 1, 5, 5)
    assert foldable(module) == {}
    assert len(batchnorms(fold_batchnorm(module))) == 1
    assert torch.equal(fold_batchnorm(module)(x), module.eval()(x))


def test_a_layer_called_twice_is_not_folded() -> None:
    layer = nn.Linear(3, 3)
    assert foldable(nn.Sequential(layer, nn.BatchNorm1d(3), layer)) == {}
