from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.data import DataSpec
from harness.models import Model
from harness.models.vgg16 import MODEL

pytestmark = pytest.mark.torch


def test_counts_are_the_published_ones(counted: Callable[[Model, DataSpec], tuple[int, ...]]) -> None:
    """14.7 M parameters and 313 M MACs: the VGG-16 of the pruning literature (Li et al. 2017, table 1: 3.13e8)."""
    assert counted(MODEL(), DataSpec((3, 32, 32), 10, "")) == (14_728_266, 14_728_266 + 2 * 4224, 313_201_664)
