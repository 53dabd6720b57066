from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.data import DataSpec
from harness.models import Model
from harness.models.resnet50 import MODEL

pytestmark = pytest.mark.torch


def test_counts_are_the_published_ones(counted: Callable[[Model, DataSpec], tuple[int, ...]]) -> None:
    """25,557,032 parameters and 4.09 GFLOPS (which are MACs) in torchvision's table of weights."""
    assert counted(MODEL(), DataSpec((3, 224, 224), 1000, "")) == (25_557_032, 25_610_152, 4_089_184_256)
