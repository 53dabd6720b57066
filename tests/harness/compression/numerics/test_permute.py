from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from harness.compression.numerics.dependency import dependencies
from harness.compression.numerics.permute import permute
from harness.data import DataSpec
from harness.models.mobilenet_v2 import MODEL as MOBILENET_V2
from harness.models.networks.resnet8 import ResNet8
from harness.models.networks.resnet_cifar import CifarResNet

pytestmark = pytest.mark.torch


class Flat(nn.Module):
    """A flattening between a convolution with bias and a linear layer: each channel is four of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 5, 3)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(5 * 36, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.linear(self.flatten(torch.relu(self.conv(x))))
        return result


class Multiplied(nn.Module):
    """A depthwise convolution with two filters a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.depthwise = nn.Conv2d(4, 8, 3, groups=4)
        self.last = nn.Conv2d(8, 10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.last(self.depthwise(self.first(x))).flatten(1)
        return result


SMALL = DataSpec((3, 32, 32), 10, "noise")
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet20": (lambda: CifarResNet(3, 10, 3), (3, 32, 32)),
    "resnet8": (lambda: ResNet8(1, 10, 4), (1, 8, 8)),
    "mobilenet_v2": (lambda: MOBILENET_V2(width=0.25).build(SMALL), (3, 32, 32)),
    "flat": (Flat, (1, 8, 8)),
    "multiplied": (Multiplied, (1, 8, 8)),
}


def shaken(module: nn.Module) -> nn.Module:
    """With batch-norm statistics and parameters that are no two alike."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            for tensor in (part.running_mean, part.running_var, part.weight.data, part.bias.data):
                tensor.uniform_(0.5, 1.5)
    return module.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_any_order_of_every_group_leaves_what_the_network_computes(name: str) -> None:
    build, shape = NETWORKS[name]
    original = shaken(build())
    moved, rng = copy.deepcopy(original), np.random.default_rng(0)
    groups = dependencies(original, np.zeros((1, *shape), np.float32)).groups
    assert groups
    for group in groups:
        permute(moved, group, rng.permutation(group.channels).tolist())
    x = torch.randn(3, *shape)
    with torch.no_grad():
        expected, found = original(x), moved(x)
    assert float((expected - found).abs().max()) <= 1e-5 * float(expected.abs().max()) + 1e-5
    changed = [n for n, p in original.named_parameters() if not torch.equal(p, moved.get_parameter(n))]
    assert len(changed) > len(list(original.parameters())) // 3


def test_a_residual_stream_moves_as_one() -> None:
    """Both convolutions that add to ResNet-8's first stream, their batch-norms, and whoever reads it."""
    network = shaken(ResNet8(1, 10, 4))
    groups = dependencies(network, np.zeros((1, 1, 8, 8), np.float32)).groups
    outs = [[d.node.layer for d in group.dependencies if d.node.axis == "out"] for group in groups]
    (stream,) = [group for group, layers in zip(groups, outs, strict=True) if len([n for n in layers if "bn" not in n]) > 1][:1]
    before = copy.deepcopy(network)
    order = list(reversed(range(stream.channels)))
    permute(network, stream, order)
    for dependency in stream.dependencies:
        layer, was = network.get_submodule(dependency.node.layer), before.get_submodule(dependency.node.layer)
        axis = 0 if dependency.node.axis == "out" else 1
        assert torch.equal(layer.get_parameter("weight"), was.get_parameter("weight").flip(axis))


def test_the_order_it_has_changes_nothing() -> None:
    network = shaken(Flat())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    (group,) = dependencies(network, np.zeros((1, 1, 8, 8), np.float32)).groups
    permute(network, group, range(5))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_there_and_back_again() -> None:
    network = shaken(Flat())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    (group,) = dependencies(network, np.zeros((1, 1, 8, 8), np.float32)).groups
    order = [3, 1, 4, 0, 2]
    permute(network, group, order)
    assert not torch.equal(before["conv.weight"], network.get_parameter("conv.weight"))
    permute(network, group, np.argsort(order).tolist())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
