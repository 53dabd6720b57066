from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.data import DataSpec
from harness.models import Model
from harness.models.resnet20 import MODEL

pytestmark = pytest.mark.torch


def test_counts_are_the_published_ones(counted: Callable[[Model, DataSpec], tuple[int, ...]]) -> None:
    """0.27 M parameters in He et al. 2016, table 6; 269,722 and 40.55 M MACs as akamaster/pytorch_resnet_cifar10 counts them."""
    assert counted(MODEL(), DataSpec((3, 32, 32), 10, "")) == (269_722, 269_722 + 2 * 688, 40_551_040)
