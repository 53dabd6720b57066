from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from harness.compression.numerics.exchange import Exchanged, Fit, Slicing, fit_weights, powers_of_two
from harness.compression.numerics.exchange_outputs import _around, fit_outputs
from harness.compression.numerics.surgery import Operation, operations

pytestmark = pytest.mark.torch

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "3x3": (nn.Conv2d(8, 6, 3), (8, 6, 6)),
    "grouped": (nn.Conv2d(12, 8, 3, groups=2), (12, 5, 5)),
    "1x1, folded with a rest": (nn.Conv2d(20, 5, 1), (20, 4, 4)),
    "of several bases": (nn.Linear(1000, 4), (1000,)),
    "5x5": (nn.Conv2d(4, 3, 5), (4, 8, 8)),
}


def operation(layer: str) -> Operation:
    """On inputs that hang together, which a fit of the weights does not see."""
    module, shape = LAYERS[layer]
    generator = torch.Generator().manual_seed(1)
    common = torch.randn(64, *shape[:1], *(1 for _ in shape[1:]), generator=generator)
    inputs = torch.relu(common + 0.7 * torch.randn(64, *shape, generator=generator))
    (found,) = operations(nn.Sequential(module), ["0"], inputs, 1e-2)
    return found


def weight(fit: Fit, shape: torch.Size) -> torch.Tensor:
    form = Exchanged(shape, fit, 7)
    found: torch.Tensor = form(*form.right_inverse(torch.empty(0))).detach()
    return found


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("sparsity", [0.0, 0.3])
def test_outputs_err_less_than_when_the_weights_are_fitted(layer: str, sparsity: float) -> None:
    of = operation(layer)
    plain = fit_weights(of.weight, sparsity, 7)
    errors = [of.error(weight(plain, of.weight.shape))]
    for surgery in (False, True):
        fit = fit_outputs(of, sparsity, 7, surgery=surgery)
        assert fit.kept.shape == plain.kept.shape and int(fit.kept.sum()) == int(plain.kept.sum())
        assert fit.found.coefficients.shape == plain.found.coefficients.shape and fit.found.basis.shape == plain.found.basis.shape
        assert torch.equal(powers_of_two(fit.found.coefficients, 7), fit.found.coefficients), "powers of two alone"
        assert not (fit.found.coefficients * ~fit.kept).any()
        errors.append(of.error(weight(fit, of.weight.shape)))
    assert errors[1] <= errors[0] * 1.001 and errors[2] <= 0.9 * errors[0], errors


def test_where_inputs_are_independent_it_is_hardly_worse_for_the_weights() -> None:
    """Every weight's error then counts alike, and the fit of the weights is what is sought."""
    module = nn.Linear(60, 16)
    of = Operation("l", module.weight.detach(), torch.eye(60, dtype=torch.float64)[None], 1e-6)
    ours, plain = fit_outputs(of, 0.0, 5, surgery=True), fit_weights(of.weight, 0.0, 5)
    assert ours.found.error <= plain.found.error * 1.01


def test_a_coefficient_is_the_best_of_all_powers_for_the_last_row() -> None:
    """Nothing follows that could make up for it: there the search next to the nearest is held to the search of all."""
    torch.manual_seed(0)
    of = Operation("l", torch.randn(12, 3), torch.eye(3, dtype=torch.float64)[None], 1e-6)
    fit = fit_outputs(of, 0.0, 3, surgery=True)
    grid = torch.tensor([0.0, *(s * 2.0**-p for p in range(3) for s in (1, -1))])
    every = torch.cartesian_prod(grid, grid, grid)
    reachable = every @ fit.found.basis
    best = (of.weight[:, None] - reachable).square().sum(2).amin(1)
    found = (of.weight[:, None] - fit.found.product()).square().sum((1, 2))
    assert (found <= best * 1.5 + 1e-6).float().mean() >= 0.75


@pytest.mark.parametrize(("width", "count"), [(1, 3), (3, 27), (7, 2187), (11, 23)])
def test_steps_begin_with_none(width: int, count: int) -> None:
    around = _around(width)
    assert around.shape == (count, width) and not around[0].any() and len({tuple(row) for row in around.tolist()}) == count


@pytest.mark.parametrize("solver", ["obs", "refit"])
def test_filters_of_one_weight_have_one_slice(solver: Literal["obs", "refit"]) -> None:
    of = Operation("l", torch.randn(4, 3), torch.eye(3, dtype=torch.float64)[None], 1e-2)
    assert Slicing.of(of.weight.shape).cuts == 1
    assert fit_outputs(of, 0.0, 7, surgery=solver == "obs").found.error < 0.3
