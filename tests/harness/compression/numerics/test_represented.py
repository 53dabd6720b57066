from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from harness.compression.numerics.represented import represented, rounded

pytestmark = pytest.mark.torch


class Doubled(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


class Outer(nn.Module):
    """A weight as the product of a column and a row."""

    def right_inverse(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return weight[:, :1].detach().clone(), torch.ones(1, weight.shape[1])

    def forward(self, column: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return column @ row


def test_a_weight_is_used_as_its_form_says_and_plain_again_afterwards() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    before, x = copy.deepcopy(network), torch.randn(4, 3)
    doubled, bias = 2 * before.get_parameter("0.weight"), before.get_parameter("0.bias")
    with represented(network, {"0": Doubled()}):
        assert torch.equal(network[0](x), nn.functional.linear(x, doubled, bias))
    assert type(network[0]) is nn.Linear
    assert torch.equal(network.get_parameter("0.weight"), doubled)
    assert {name for name, _ in network.named_parameters()} == {name for name, _ in before.named_parameters()}
    assert torch.equal(network.get_parameter("1.weight"), before.get_parameter("1.weight"))


def test_what_is_trained_is_what_the_form_makes_of_the_weight() -> None:
    network = nn.Sequential(nn.Linear(3, 2, bias=False))
    with represented(network, {"0": Outer()}):
        assert sorted(tuple(p.shape) for p in network.parameters()) == [(1, 3), (2, 1)]
        network(torch.randn(4, 3)).sum().backward()
        assert all(p.grad is not None for p in network.parameters())
    weight = network.get_parameter("0.weight")
    assert torch.equal(weight[:, 0], weight[:, 2])
    assert weight.grad is None  # not what was the gradient of something of another shape


def test_an_error_inside_leaves_plain_weights() -> None:
    network = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ZeroDivisionError), represented(network, {"0": Doubled()}):
        raise ZeroDivisionError
    assert type(network[0]) is nn.Linear


def test_rounding_passes_gradients() -> None:
    x = torch.tensor([0.2, 1.5, -2.7], requires_grad=True)
    y = rounded(x)
    assert y.tolist() == [0.0, 2.0, -3.0]
    y.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0, 1.0]
