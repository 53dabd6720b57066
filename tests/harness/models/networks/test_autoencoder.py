from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.models.networks.autoencoder import autoencoder

pytestmark = pytest.mark.torch


def test_layers_narrow_to_the_code_and_widen_again() -> None:
    network = autoencoder(640, 128, 8)
    assert [layer.out_features for layer in network if isinstance(layer, nn.Linear)] == [128] * 4 + [8] + [128] * 4 + [640]
    assert network.eval()(torch.rand(3, 640)).shape == (3, 640)
    assert (network(torch.rand(64, 640)) < 0).any()  # no activation after the last layer
