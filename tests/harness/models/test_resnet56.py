from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.data import DataSpec
from harness.models import Model
from harness.models.resnet56 import MODEL

pytestmark = pytest.mark.torch


def test_counts_are_the_published_ones(counted: Callable[[Model, DataSpec], tuple[int, ...]]) -> None:
    """0.85 M parameters in He et al. 2016, table 6; 853,018 as akamaster/pytorch_resnet_cifar10 counts them."""
    assert counted(MODEL(), DataSpec((3, 32, 32), 10, "")) == (853_018, 853_018 + 2 * 2032, 125_485_696)
