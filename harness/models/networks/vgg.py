"""VGG-16 for small images: the 13 convolutions of Simonyan, Zisserman 2015 (arXiv:1409.1556, table 1, D) with batch-norm, one linear layer."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the 3x3 convolutions between poolings."""


def vgg16(channels: int, classes: int, width: int) -> nn.Sequential:
    """[n, channels, height, width] -> [n, classes]; `width` channels in the first stage, 64 as published."""
    features: list[nn.Module] = []
    for stage in STAGES:
        for published in stage:
            outputs = published * width // 64
            features += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
            channels = outputs
        features.append(nn.MaxPool2d(2))
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            features=nn.Sequential(*features),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(channels, classes),
        )
    )
