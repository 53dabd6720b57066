from __future__ import annotations

import pytest
import torch

from harness.models.networks.resnet import Basic, Bottleneck, ResNet

pytestmark = pytest.mark.torch


def test_parameters_are_named_as_in_torchvision() -> None:
    names = set(ResNet(Bottleneck, (1, 1, 2, 1), 3, 10, width=4, small=False).state_dict())
    assert {
        "conv1.weight",
        "bn1.running_mean",
        "layer1.0.downsample.0.weight",
        "layer3.1.conv3.weight",
        "layer4.0.downsample.1.bias",
        "fc.bias",
    } <= names
    assert "layer3.1.downsample.0.weight" not in names
    assert "layer1.0.downsample.0.weight" not in ResNet(Basic, (1, 1, 1, 1), 3, 10, width=4, small=False).state_dict()


@pytest.mark.parametrize(("small", "size"), [(False, 7), (True, 28)])
def test_resolution_is_halved_five_times_or_three(small: bool, size: int) -> None:
    network = ResNet(Basic, (1, 1, 1, 1), 1, 10, width=2, small=small).eval()
    seen: list[torch.Size] = []
    network.avgpool.register_forward_pre_hook(lambda _module, given: seen.append(given[0].shape))
    network(torch.zeros(1, 1, 224, 224))
    assert seen == [(1, 16, size, size)]


@pytest.mark.parametrize("block", [Basic, Bottleneck])
def test_the_input_goes_around_a_block(block: type[Basic | Bottleneck]) -> None:
    part = block(4 * block.expansion, 4, 1).eval()
    last = part.bn2 if isinstance(part, Basic) else part.bn3
    torch.nn.init.zeros_(last.weight)
    x = torch.rand(2, 4 * block.expansion, 5, 5)
    assert torch.equal(part(x), x)
