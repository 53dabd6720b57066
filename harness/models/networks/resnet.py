"""ResNet-18 and ResNet-50 (He et al. 2016, arXiv:1512.03385, table 1), the stride in the 3x3 convolution of a bottleneck (v1.5).

Parameters are named as in torchvision's state dicts, so that these load as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

SMALL = 64
"""Images below so many pixels keep their resolution in the stem: 3x3, stride 1, no pooling, as is usual for CIFAR."""


class Basic(nn.Module):
    """Two 3x3 convolutions."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _projection(inputs, width, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        result: torch.Tensor = self.relu2(y + self.downsample(x))
        return result


class Bottleneck(nn.Module):
    """1x1 down to `width` channels, 3x3, 1x1 up to four times as many."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, self.expansion * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.expansion * width)
        self.downsample = _projection(inputs, self.expansion * width, stride)
        self.relu3 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
        y = self.bn3(self.conv3(y))
        result: torch.Tensor = self.relu3(y + self.downsample(x))
        return result


class ResNet(nn.Module):
    """[n, channels, height, width] -> [n, classes]; four stages of `blocks` blocks, `width` to 8 * `width` channels wide."""

    def __init__(
        self, block: type[Basic | Bottleneck], blocks: Sequence[int], channels: int, classes: int, *, width: int, small: bool
    ) -> None:
        super().__init__()
        self.conv1 = (
            nn.Conv2d(channels, width, 3, padding=1, bias=False)
            if small
            else nn.Conv2d(channels, width, 7, 2, padding=3, bias=False)
        )
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        inputs, stages = width, []
        for number, count in enumerate(blocks, start=1):
            stage = []
            for index in range(count):
                stage.append(block(inputs, width << (number - 1), 2 if number > 1 and index == 0 else 1))
                inputs = block.expansion * width << (number - 1)
            stages.append(nn.Sequential(*stage))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(inputs, classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        result: torch.Tensor = self.fc(self.flatten(self.avgpool(x)))
        return result


def _projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The way around a block: a 1x1 convolution where the shape changes (option B), nothing elsewhere."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
