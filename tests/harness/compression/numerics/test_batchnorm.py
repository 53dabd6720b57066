from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.compression.numerics.batchnorm import reset_batchnorm

pytestmark = pytest.mark.torch


def test_statistics_are_those_of_the_inputs() -> None:
    x = torch.randn(50, 3, 4, 4) * 3 + 1
    module = nn.Sequential(nn.BatchNorm2d(3))
    assert reset_batchnorm(module, x) == 1
    values = x.double().permute(1, 0, 2, 3).flatten(1)
    assert torch.allclose(module.get_buffer("0.running_mean").double(), values.mean(1), atol=1e-5)
    assert torch.allclose(module.get_buffer("0.running_var").double(), values.var(1), atol=1e-4)


def test_a_later_layer_sees_its_predecessors_already_reset() -> None:
    x = torch.randn(60, 4)
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3), nn.BatchNorm1d(3))
    reset_batchnorm(module, x)
    with torch.no_grad():
        inner = module[0](x)
        normalised = (inner - inner.mean(0)) / torch.sqrt(inner.var(0, unbiased=False) + 1e-5)
        second = module[3](torch.relu(normalised))
    assert torch.allclose(module.get_buffer("4.running_mean"), second.mean(0), atol=1e-5)
    assert torch.allclose(module.get_buffer("4.running_var"), second.var(0), atol=1e-4)


def test_only_statistics_change_and_eval_mode_is_left() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, momentum=0.3), nn.Dropout(0.5)).train()
    before = [p.clone() for p in module.parameters()]
    reset_batchnorm(module, torch.randn(20, 4))
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    assert module[1].momentum == 0.3
    assert not any(part.training for part in module.modules())


def test_a_network_without_batchnorm_has_none_to_set() -> None:
    assert reset_batchnorm(nn.Linear(2, 2), torch.zeros(3, 2)) == 0
