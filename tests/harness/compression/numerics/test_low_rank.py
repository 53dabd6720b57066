from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from harness.compression.numerics.counting import weight_uses
from harness.compression.numerics.layers import Layer
from harness.compression.numerics.low_rank import Ranks, ranks, refusal, taken_apart

pytestmark = pytest.mark.torch

LAYERS: list[Any] = [
    pytest.param(nn.Linear(12, 7), (12,), id="linear"),
    pytest.param(nn.Conv2d(6, 9, 1, stride=2), (6, 8, 8), id="1x1"),
    pytest.param(nn.Conv2d(6, 9, 3, stride=2, padding=1, bias=False), (6, 8, 8), id="3x3"),
    pytest.param(nn.Conv2d(5, 4, (3, 2), dilation=2, padding="same"), (5, 8, 8), id="3x2"),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS)
def test_at_full_rank_it_answers_the_same(layer: Layer, shape: tuple[int, ...]) -> None:
    outputs, inputs = layer.weight.shape[:2]
    full = Ranks(inputs, outputs) if layer.weight.shape[2:].numel() > 1 else Ranks(min(inputs, outputs), min(inputs, outputs))
    x = torch.randn(3, *shape)
    assert torch.allclose(taken_apart(layer, full)(x), layer(x), atol=1e-5)


@pytest.mark.parametrize(("layer", "shape"), LAYERS)
def test_ranks_by_macs_are_the_largest_within_the_share(layer: Layer, shape: tuple[int, ...]) -> None:
    example = torch.zeros(1, *shape).numpy()

    def macs(module: nn.Module) -> int:
        return sum(uses * module.get_parameter(name).numel() for name, uses in weight_uses(module, example).items())

    whole = macs(nn.Sequential(layer))
    for share in (0.4, 0.7, 0.95):
        rank = ranks(layer, share, "macs")
        assert rank is not None
        assert macs(taken_apart(layer, rank)) <= share * whole
        larger = Ranks(rank.inputs + 1, rank.outputs + 1)
        if larger.inputs <= layer.weight.shape[1] and larger.outputs <= layer.weight.shape[0]:
            assert macs(taken_apart(layer, larger)) > share * whole


def test_ranks_by_energy_keep_it_and_no_more_than_needed() -> None:
    layer = nn.Linear(20, 20, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.arange(20.0)))
    squares = sorted((float(i) ** 2 for i in range(20)), reverse=True)
    needed = next(k for k in range(20) if sum(squares[:k]) >= 0.6 * sum(squares))
    assert ranks(layer, 0.6, "energy") == Ranks(needed, needed)
    assert ranks(layer, 0.999, "energy") is None  # so many are no less work


def test_one_singular_value_decomposition_is_the_best_there_is() -> None:
    """Eckart and Young 1936: no matrix of that rank is nearer."""
    layer = nn.Linear(9, 6)
    left = torch.linalg.svdvals(layer.weight.detach())[2:]
    first, last = taken_apart(layer, Ranks(2, 2))
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    error = (last.weight @ first.weight - layer.weight).detach().norm()
    assert float(error) == pytest.approx(float(left.norm()), rel=1e-4)


def test_a_convolution_of_low_multilinear_rank_is_taken_apart_exactly() -> None:
    layer = nn.Conv2d(8, 10, 3, padding=1)
    weight = torch.einsum("op,pqhw,iq->oihw", torch.randn(10, 3), torch.randn(3, 2, 3, 3), torch.randn(8, 2))
    layer.weight = nn.Parameter(weight)
    x = torch.randn(2, 8, 5, 5)
    assert ranks(layer, 0.9999, "energy") == Ranks(2, 3)
    assert torch.allclose(taken_apart(layer, Ranks(2, 3))(x), layer(x), atol=1e-4)


def test_what_cannot_be_taken_apart_is_refused() -> None:
    assert refusal(nn.Conv2d(4, 4, 3)) is None
    assert "groups" in (refusal(nn.Conv2d(4, 4, 3, groups=4)) or "")
    assert "2-d" in (refusal(nn.Conv1d(4, 4, 3)) or "")
    assert ranks(nn.Linear(2, 2), 0.1, "macs") is None
