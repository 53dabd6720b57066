from __future__ import annotations

import pytest
import torch

from harness.data import DataSpec
from harness.data.digits import DATA
from harness.models.resnet8 import MODEL
from harness.train import evaluate, train

pytestmark = pytest.mark.torch

DIGITS = DATA().spec


def test_images_too_small_are_refused() -> None:
    assert "4x4" in str(MODEL().accepts(DataSpec((3, 3, 8), 10, "")))


def test_width_scales_every_block() -> None:
    assert [p.shape[0] for p in MODEL(width=5).build(DIGITS).parameters() if p.dim() == 4] == [5, 5, 5, 10, 10, 10, 20, 20, 20]


def test_it_learns_the_digits() -> None:
    torch.manual_seed(0)
    network = MODEL(width=4).build(DIGITS)
    train(network, DATA(), MODEL(width=4, epochs=4, augment="none").recipe(), seed=0)
    assert evaluate(network, DATA().load("test"))["top1"] > 0.8
