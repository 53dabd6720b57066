from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.models.networks.vgg import vgg16

pytestmark = pytest.mark.torch


def test_convolutions_are_those_of_the_table() -> None:
    network = vgg16(3, 10, 64)
    widths = [layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert widths == [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in network.modules()) == 5


def test_width_scales_every_stage_and_larger_images_are_averaged() -> None:
    network = vgg16(1, 7, 2).eval()
    assert network.get_submodule("classifier").weight.shape == (7, 16)
    assert network(torch.zeros(2, 1, 70, 64)).shape == (2, 7)
