from __future__ import annotations

import pytest
import torch

from harness.data.digits import DATA
from harness.models.small_cnn import MODEL
from harness.train import evaluate, train

pytestmark = pytest.mark.torch

DIGITS = DATA().spec


def test_width_scales_every_convolution() -> None:
    assert [p.shape[0] for p in MODEL(width=5).build(DIGITS).parameters() if p.dim() == 4] == [5, 10, 10]


def test_defaults_reach_97_percent_of_the_digits() -> None:
    torch.manual_seed(0)
    network = MODEL().build(DIGITS)
    train(network, DATA(), MODEL().recipe(), seed=0)
    assert evaluate(network, DATA().load("test"))["top1"] > 0.97
