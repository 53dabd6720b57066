"""Depthwise separable convolutions, and the two networks of MLPerf Tiny (Banbury et al. 2021, arXiv:2106.07597) that are made of them.

As there, convolutions have biases beside their batch-norm.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional


class SamePad(nn.Module):
    """Pads [n, c, h, w] as TensorFlow's `SAME` does: output size = input size / stride, rounded up, the odd pixel below and to the right.

    With stride 1 a convolution pads so by itself; with stride 2 it cannot, and weights trained there would see shifted images.
    """

    def __init__(self, height: int, width: int, kernel: tuple[int, int], stride: int) -> None:
        super().__init__()
        totals = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip((height, width), kernel, strict=True)]
        (top, left), (high, wide) = [total // 2 for total in totals], totals
        self.edges = (left, wide - left, top, high - top)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.pad(x, self.edges)

    def extra_repr(self) -> str:
        return f"edges={self.edges}"


class Separable(nn.Sequential):
    """A 3x3 convolution of each channel by itself, then a 1x1 convolution over channels; batch-norm and ReLU after both (arXiv:1704.04861)."""

    def __init__(self, inputs: int, outputs: int, *, height: int, width: int, stride: int = 1) -> None:
        layers = OrderedDict[str, nn.Module]()
        if stride > 1:
            layers["pad"] = SamePad(height, width, (3, 3), stride)
        layers["depthwise"] = nn.Conv2d(inputs, inputs, 3, stride, padding=int(stride == 1), groups=inputs)
        layers["bn1"] = nn.BatchNorm2d(inputs)
        layers["relu1"] = nn.ReLU()
        layers["pointwise"] = nn.Conv2d(inputs, outputs, 1)
        layers["bn2"] = nn.BatchNorm2d(outputs)
        layers["relu2"] = nn.ReLU()
        super().__init__(layers)


def ds_cnn(channels: int, height: int, width: int, classes: int, filters: int) -> nn.Sequential:
    """DS-CNN (Zhang et al. 2017, arXiv:1711.07128): a 10x4 convolution of stride 2 and four separable ones, all of `filters` channels.

    [n, channels, height, width] -> [n, classes]; 49 x 10 are time and MFCCs.
    """
    layers = OrderedDict[str, nn.Module](
        pad=SamePad(height, width, (10, 4), 2),
        conv=nn.Conv2d(channels, filters, (10, 4), 2),
        bn=nn.BatchNorm2d(filters),
        relu=nn.ReLU(),
        dropout=nn.Dropout(0.2),
    )
    height, width = -(-height // 2), -(-width // 2)
    for number in range(1, 5):
        layers[f"block{number}"] = Separable(filters, filters, height=height, width=width)
    layers["dropout2"] = nn.Dropout(0.4)
    return _headed(layers, filters, classes)


STAGES = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""(output channels at width 1, stride) of each separable convolution of MobileNetV1 (arXiv:1704.04861, table 1)."""


def mobilenet_v1(channels: int, height: int, width: int, classes: int, multiplier: float) -> nn.Sequential:
    """MobileNetV1: a 3x3 convolution of stride 2, then 13 separable ones. [n, channels, height, width] -> [n, classes]."""
    inputs = max(int(32 * multiplier), 1)
    layers = OrderedDict[str, nn.Module](
        pad=SamePad(height, width, (3, 3), 2),
        conv=nn.Conv2d(channels, inputs, 3, 2),
        bn=nn.BatchNorm2d(inputs),
        relu=nn.ReLU(),
    )
    height, width = -(-height // 2), -(-width // 2)
    for number, (filters, stride) in enumerate(STAGES, start=1):
        outputs = max(int(filters * multiplier), 1)
        layers[f"block{number}"] = Separable(inputs, outputs, height=height, width=width, stride=stride)
        inputs, height, width = outputs, -(-height // stride), -(-width // stride)
    return _headed(layers, inputs, classes)


def _headed(layers: OrderedDict[str, nn.Module], features: int, classes: int) -> nn.Sequential:
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(features, classes)
    return nn.Sequential(layers)
