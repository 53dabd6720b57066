from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.data import DataSpec
from harness.models import Model
from harness.models.mobilenet_v2 import MODEL

pytestmark = pytest.mark.torch


def test_counts_are_the_published_ones(counted: Callable[[Model, DataSpec], tuple[int, ...]]) -> None:
    """3.4 M parameters and 300 M MACs in Sandler et al. 2018, table 4; 3,504,872 in torchvision's table of weights."""
    assert counted(MODEL(), DataSpec((3, 224, 224), 1000, "")) == (3_504_872, 3_538_984, 300_774_272)


@pytest.mark.parametrize(("width", "millions"), [(1.4, 6.1), (0.75, 2.6), (0.5, 1.9), (0.35, 1.6)])
def test_width_multipliers_are_those_of_the_published_networks(
    width: float, millions: float, counted: Callable[[Model, DataSpec], tuple[int, ...]]
) -> None:
    """Parameters of the checkpoints in tensorflow/models, slim/nets/mobilenet/README: 6.06, 2.61, 1.95, 1.66 M (1.66 is printed)."""
    assert counted(MODEL(width=width), DataSpec((3, 224, 224), 1000, ""))[0] / 1e6 == pytest.approx(millions, abs=0.1)


def test_small_images_keep_their_resolution(counted: Callable[[Model, DataSpec], tuple[int, ...]]) -> None:
    """Two strides fewer: 16 times the positions of a network that halves them as at 224."""
    macs = counted(MODEL(), DataSpec((3, 32, 32), 10, ""))[2]
    assert 80e6 < macs < 95e6
