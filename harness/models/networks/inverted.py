"""Networks of inverted residuals: MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) and EfficientNet-Lite0 (Tan, Le 2019, arXiv:1905.11946).

An inverted residual widens its input by a 1x1 convolution, filters each channel by itself, and narrows again without an activation.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from harness.models.networks.separable import SamePad


class Stage(NamedTuple):
    """Blocks of the same shape; only the first has the stride."""

    expansion: int
    outputs: int
    blocks: int
    stride: int
    kernel: int = 3


Size = tuple[int, int]
"""Height and width of a map that is to be padded as TensorFlow does; None instead: by the same amount on all sides."""


class Block(nn.Module):
    """`conv` holds the layers in a row, as torchvision numbers them; the input is added where shapes agree."""

    def __init__(self, inputs: int, stage: Stage, stride: int, epsilon: float, size: Size | None) -> None:
        super().__init__()
        hidden = inputs * stage.expansion
        layers: list[nn.Module] = [] if stage.expansion == 1 else [convolution(inputs, hidden, epsilon=epsilon)]
        layers.append(convolution(hidden, hidden, stage.kernel, stride, groups=hidden, epsilon=epsilon, size=size))
        layers += [nn.Conv2d(hidden, stage.outputs, 1, bias=False), nn.BatchNorm2d(stage.outputs, eps=epsilon)]
        self.conv = nn.Sequential(*layers)
        self.is_residual = stride == 1 and inputs == stage.outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x)
        return x + y if self.is_residual else y


def convolution(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, epsilon: float, size: Size | None = None
) -> nn.Sequential:
    """Convolution, batch-norm, ReLU6."""
    layers = OrderedDict[str, nn.Module]()
    padding = kernel // 2
    if size is not None and stride > 1:
        layers["pad"], padding = SamePad(*size, (kernel, kernel), stride), 0
    layers["0"] = nn.Conv2d(inputs, outputs, kernel, stride, padding=padding, groups=groups, bias=False)
    layers["1"] = nn.BatchNorm2d(outputs, eps=epsilon)
    layers["2"] = nn.ReLU6()
    return nn.Sequential(layers)


class InvertedResiduals(nn.Module):
    """[n, channels, height, width] -> [n, classes]: a 3x3 convolution, the blocks, a 1x1 convolution, all in `features`; then a linear layer."""

    def __init__(
        self,
        stages: tuple[Stage, ...],
        channels: int,
        classes: int,
        *,
        stem: int,
        stem_stride: int,
        last: int,
        epsilon: float = 1e-5,
        size: Size | None = None,
    ) -> None:
        super().__init__()
        features: list[nn.Module] = [convolution(channels, stem, 3, stem_stride, epsilon=epsilon, size=size)]
        size = _strided(size, stem_stride)
        inputs = stem
        for stage in stages:
            for stride in (stage.stride, *[1] * (stage.blocks - 1)):
                features.append(Block(inputs, stage, stride, epsilon, size))
                inputs, size = stage.outputs, _strided(size, stride)
        features.append(convolution(inputs, last, epsilon=epsilon))
        self.features = nn.Sequential(*features)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0.0, 0.01)
                nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.classifier(self.flatten(self.pool(self.features(x))))
        return result


MOBILENET_V2 = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)
"""Table 2 of arXiv:1801.04381."""
SMALL = 64
"""Images below so many pixels keep their resolution in the stem and in the second stage, as is usual for CIFAR."""


def mobilenet_v2(channels: int, classes: int, *, multiplier: float, small: bool) -> InvertedResiduals:
    """Parameters are named as in torchvision's state dicts, so that these load as they are."""
    stages = [stage._replace(outputs=_eights(stage.outputs * multiplier)) for stage in MOBILENET_V2]
    if small:
        stages[1] = stages[1]._replace(stride=1)
    return InvertedResiduals(
        tuple(stages),
        channels,
        classes,
        stem=_eights(32 * multiplier),
        stem_stride=1 if small else 2,
        last=_eights(1280 * max(multiplier, 1.0)),
    )


EFFICIENTNET_LITE0 = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1),
)
"""EfficientNet-B0 (table 1 of arXiv:1905.11946) without squeeze-and-excitation; ReLU6 in place of SiLU."""
_PUBLISHED = {
    "_conv_stem": "features.0.0",
    "_bn0": "features.0.1",
    "_conv_head": "features.17.0",
    "_bn1": "features.17.1",
    "_fc": "classifier.1",
}
_PUBLISHED_BLOCK = {
    "_expand_conv": "0.0",
    "_bn0": "0.1",
    "_depthwise_conv": "1.0",
    "_bn1": "1.1",
    "_project_conv": "2",
    "_bn2": "3",
}


class EfficientNetLite0(InvertedResiduals):
    """The published weights take pixels as (p - 127) / 128 for p in 0..255, and were trained with TensorFlow's padding."""

    def __init__(self, channels: int, size: Size, classes: int) -> None:
        super().__init__(
            EFFICIENTNET_LITE0,
            channels,
            classes,
            stem=32,
            stem_stride=2,
            last=1280,
            epsilon=1e-3,
            size=size,
        )

    def translated(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {_own_name(name): tensor for name, tensor in state.items()}


def _own_name(name: str) -> str:
    """`_blocks.3._bn2.bias` of the package's checkpoint -> `features.4.conv.3.bias`; a name of ours stays."""
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(.+)", name)
    if block is None:
        layer, _, tensor = name.partition(".")
        return f"{_PUBLISHED[layer]}.{tensor}" if layer in _PUBLISHED else name
    number, layer, tensor = int(block[1]), _PUBLISHED_BLOCK[block[2]], block[3]
    if number == 0:  # does not expand: its layers stand one place earlier
        place, _, rest = layer.partition(".")
        layer = f"{int(place) - 1}.{rest}".rstrip(".")
    return f"features.{number + 1}.conv.{layer}.{tensor}"


def _strided(size: Size | None, stride: int) -> Size | None:
    return None if size is None else (-(-size[0] // stride), -(-size[1] // stride))


def _eights(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and at least 90 % of what was asked for."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
