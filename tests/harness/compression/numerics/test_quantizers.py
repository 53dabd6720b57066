from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from harness.compression.numerics.fake_quant import quantize_weight
from harness.compression.numerics.quantizers import (
    BinaryWeight,
    Bits,
    Int8Weight,
    TernaryWeight,
    UniformActivation,
    UniformWeight,
    best_steps,
    code_bits,
    settled,
    weight_quantizer,
    with_activations,
    without_activations,
)

pytestmark = pytest.mark.torch


def test_binary_weights_are_signs_times_the_mean_magnitude_of_each_filter() -> None:
    weight = torch.randn(3, 2, 3, 3, requires_grad=True)
    with torch.no_grad():
        weight[0, 0, 0, 0] = 0.0
        weight[1, 0, 0, 0] = 1.5
    found = BinaryWeight()(weight)
    for row, out in zip(weight.detach().flatten(1), found.detach().flatten(1), strict=True):
        assert out.tolist() == pytest.approx([float(row.abs().mean()) * (1 if w >= 0 else -1) for w in row.tolist()])
    found.sum().backward()
    assert weight.grad is not None
    size = weight.detach().flatten(1).abs().mean(1).view(-1, 1, 1, 1)
    assert torch.allclose(weight.grad, size * (weight.detach().abs() <= 1))  # none where |w| > 1


def test_ternary_weights_are_zero_below_the_threshold_and_the_mean_of_the_others_above() -> None:
    weight = torch.randn(4, 30, requires_grad=True)
    found = TernaryWeight()(weight)
    for row, out in zip(weight.detach(), found.detach(), strict=True):
        above = row.abs() > 0.7 * row.abs().mean()
        size = float(row.abs()[above].mean())
        assert out.tolist() == pytest.approx(
            [size * float(torch.sign(w)) if a else 0.0 for w, a in zip(row, above, strict=True)], abs=1e-6
        )
    found.sum().backward()
    assert weight.grad is not None and torch.equal(weight.grad, torch.ones_like(weight))
    assert torch.equal(TernaryWeight()(torch.zeros(2, 3)), torch.zeros(2, 3))


@pytest.mark.parametrize("bits", [2, 3, 4, 7])
def test_uniform_weights_lie_on_their_grid_and_are_the_nearest_within_reach(bits: int) -> None:
    weight = torch.randn(5, 40)
    form = UniformWeight(weight, bits)
    step = form.log_step.exp().detach()[:, None]
    codes = form(weight).detach() / step
    most = 2 ** (bits - 1) - 1
    assert float((codes - codes.round()).abs().max()) < 1e-4
    assert torch.allclose(codes, (weight / step).clamp(-most, most).round(), atol=1e-4)


def test_more_bits_leave_less_error_and_the_first_step_beats_the_largest_magnitudes() -> None:
    weight = torch.randn(8, 100)
    errors = [float((UniformWeight(weight, bits)(weight) - weight).detach().norm()) for bits in (2, 3, 4, 6)]
    assert errors == sorted(errors, reverse=True)
    for most in (1, 3, 7):
        plain, best = (
            float(((weight / step[:, None]).round().clamp(-most, most) * step[:, None] - weight).norm())
            for step in (weight.abs().amax(1) / most, best_steps(weight, most))
        )
        assert best < plain


def test_steps_learn() -> None:
    weight = torch.randn(4, 50)
    form = UniformWeight(weight, 3)
    with torch.no_grad():
        form.log_step.add_(1.0)  # far too coarse

    def error() -> torch.Tensor:
        squares: torch.Tensor = (form(weight) - weight).square().sum()
        return squares

    before = float(error().detach())
    for _ in range(100):
        (gradient,) = torch.autograd.grad(error(), form.log_step)
        with torch.no_grad():
            form.log_step.sub_(0.5 * gradient)
    assert float(error().detach()) < 0.3 * before


def test_int8_weights_are_those_of_int8_kernels() -> None:
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    found = Int8Weight()(weight)
    assert torch.allclose(found, quantize_weight(weight, per_channel=True).dequantized(), atol=1e-7)
    again = quantize_weight(found, per_channel=True)
    assert torch.equal(again.codes, quantize_weight(weight, per_channel=True).codes)


@pytest.mark.parametrize(("bits", "kind"), [(1, BinaryWeight), ("ternary", TernaryWeight), (5, UniformWeight), (8, Int8Weight)])
def test_each_width_has_its_quantizer(bits: Bits, kind: type[nn.Module]) -> None:
    assert type(weight_quantizer(torch.randn(2, 3), bits)) is kind
    assert code_bits(bits) == (2 if bits == "ternary" else bits)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_activations_have_as_many_values_as_their_bits_allow(bits: int, signed: bool) -> None:
    values = torch.randn(10, 300) if signed else torch.randn(10, 300).relu()
    form = UniformActivation(values, bits)
    found = form(values).detach()
    levels = torch.unique((found / form.log_step.exp().detach()).round())
    assert float(levels.min()) >= (-(2 ** (bits - 1)) if signed else 0)
    assert 2 <= len(levels) <= 2**bits
    assert signed or 0.0 in levels.tolist()
    most = {1: 1.0, 2: 0.5, 4: 0.02, 8: 0.02}[bits]
    assert float((found - values).square().mean()) < float(values.square().mean()) * most


@pytest.mark.parametrize("bits", [1, 2, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_a_settled_activation_rounds_the_same_and_learns_nothing(bits: int, signed: bool) -> None:
    values = torch.randn(10, 300) if signed else torch.randn(10, 300).relu()
    network = nn.Sequential(UniformActivation(values, bits))
    final = settled(network)
    assert not list(final.parameters()) and list(network.parameters())
    assert torch.allclose(final(3 * values), network(3 * values), rtol=1e-6)


def test_beyond_its_ends_an_activation_passes_no_gradient_and_moves_the_end() -> None:
    form = UniformActivation(torch.rand(4, 50), 3)
    end = float((form.log_step.exp() * 7).detach())
    x = torch.tensor([0.4 * end, 2 * end], requires_grad=True)
    form(x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [1.0, 0.0]
    assert form.log_step.grad is not None and float(form.log_step.grad) > 0


class Branches(nn.Module):
    """Two layers that read one tensor, and a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.left, self.right = nn.Linear(6, 5), nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        both: torch.Tensor = self.left(x) + self.right(x)
        return both


def test_layers_that_read_one_tensor_share_its_quantizer_and_it_can_be_taken_away() -> None:
    module, x = Branches(), torch.randn(20, 4)
    before = copy.deepcopy(module)
    network = with_activations(module, {"first": 8, "left": 2, "right": 2}, x)
    assert sum(isinstance(part, UniformActivation) for part in network.modules()) == 2
    hidden = torch.relu(before.first(x))
    form = next(part for part in network.modules() if isinstance(part, UniformActivation) and part.most == 3)
    seen = hidden.detach()
    first = next(part for part in network.modules() if isinstance(part, UniformActivation) and part.most == 127)
    rounded = form(torch.relu(before.first(first(x))))
    assert torch.allclose(network(x), before.left(rounded) + before.right(rounded), atol=1e-5)
    assert not torch.allclose(network(x), before(x), atol=1e-3) and float(seen.max()) > 0
    assert torch.allclose(without_activations(network)(x), before(x), atol=1e-6)
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == {
        name: tuple(p.shape) for name, p in without_activations(network).named_parameters()
    }


def test_layers_that_read_it_at_other_widths_do_not() -> None:
    network = with_activations(Branches(), {"left": 2, "right": 4}, torch.randn(20, 4))
    assert sorted(part.most for part in network.modules() if isinstance(part, UniformActivation)) == [3, 15]
