"""ResNet-20, 56 ... for CIFAR (He et al. 2016, arXiv:1512.03385, sec. 4.2), parameter-free shortcuts (option A).

Parameters are named as in the state dicts of akamaster/pytorch_resnet_cifar10, so that these load as they are.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3x3 convolutions; around them the input, at half the resolution and with zero channels added on both sides where shapes change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.stride = stride
        self.added = (outputs - inputs) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        result: torch.Tensor = self.relu2(y + self._around(x))
        return result

    def _around(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride == 1:
            return x
        # Pooling over one pixel takes every second one; converters turn it and a concatenation into kernels that know where channels lie.
        half = functional.max_pool2d(x, 1, self.stride)
        zeros = torch.zeros_like(half[:, : self.added])
        return torch.cat((zeros, half, zeros), dim=1)


class CifarResNet(nn.Module):
    """[n, channels, height, width] -> [n, classes]; three stages of `blocks` blocks, 6 * blocks + 2 layers deep."""

    def __init__(self, channels: int, classes: int, blocks: int, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.layer1 = _stage(width, width, blocks, stride=1)
        self.layer2 = _stage(width, 2 * width, blocks, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, blocks, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(4 * width, classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        result: torch.Tensor = self.linear(self.flatten(self.pool(x)))
        return result


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(inputs, outputs, stride)
    return nn.Sequential(first, *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))
