from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.data import DataSpec
from harness.models import Model
from harness.models.resnet18 import MODEL

pytestmark = pytest.mark.torch


def test_counts_are_the_published_ones(counted: Callable[[Model, DataSpec], tuple[int, ...]]) -> None:
    """11,689,512 parameters in torchvision's table of weights, where 1.81 G MACs are called GFLOPS; 1.8e9 in He et al. 2016, table 1."""
    assert counted(MODEL(), DataSpec((3, 224, 224), 1000, "")) == (11_689_512, 11_699_112, 1_814_073_344)


def test_small_images_keep_their_resolution_in_the_stem(counted: Callable[[Model, DataSpec], tuple[int, ...]]) -> None:
    """11,173,962 parameters and 0.56 G MACs: what is usually called ResNet-18 on CIFAR-10."""
    assert counted(MODEL(), DataSpec((3, 32, 32), 10, ""))[::2] == (11_173_962, 555_422_720)
