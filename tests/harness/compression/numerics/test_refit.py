from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.compression.numerics.masks import apply_masks
from harness.compression.numerics.refit import can_refit, input_columns, refit, refit_rows, second_moments

pytestmark = pytest.mark.torch


def least_squares_by_hand(row: torch.Tensor, kept: torch.Tensor, x: torch.Tensor, ridge: float) -> torch.Tensor:
    """min over v on the kept set of ||row x - v x||^2 + ridge ||row - v||^2 as one overdetermined system, solved without normal equations."""
    identity = torch.eye(len(row), dtype=torch.float64) * ridge**0.5
    system = torch.cat([x.T, identity])
    target = torch.cat([x.T @ row, identity @ row])
    solution = torch.zeros_like(row)
    solution[kept] = torch.linalg.lstsq(system[:, kept], target[:, None]).solution[:, 0]
    return solution


@pytest.mark.parametrize("seed", range(5))
def test_refit_is_the_least_squares_solution(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(9, 40, generator=generator, dtype=torch.float64)
    x[3] = x[2] * 1.01  # nearly dependent inputs
    rows = torch.randn(6, 9, generator=generator, dtype=torch.float64)
    kept = torch.rand(6, 9, generator=generator) < 0.5
    moment = x @ x.T
    fitted = refit_rows(rows, kept, moment)
    ridge = 1e-2 * float(moment.diagonal().mean())
    for row, keep, found in zip(rows, kept, fitted, strict=True):
        assert torch.allclose(found, least_squares_by_hand(row, keep, x, ridge), rtol=1e-7, atol=1e-9)


def test_refit_equals_removing_one_weight_after_another_as_optimal_brain_surgery_does() -> None:
    x = torch.randn(7, 30, dtype=torch.float64)
    row = torch.randn(7, dtype=torch.float64)
    moment = x @ x.T
    inverse = torch.linalg.inv(moment + torch.eye(7, dtype=torch.float64) * 1e-2 * moment.diagonal().mean())
    w = row.clone()
    for p in (4, 1, 6):
        w -= inverse[:, p] * w[p] / inverse[p, p]
        inverse -= torch.outer(inverse[:, p], inverse[p]) / inverse[p, p]
    kept = torch.tensor([True, False, True, True, False, True, False])
    assert torch.allclose(refit_rows(row[None], kept[None], moment)[0][kept], w[kept], rtol=1e-9)


def test_nothing_removed_changes_nothing_and_all_removed_leaves_zeros() -> None:
    rows = torch.randn(2, 4, dtype=torch.float64)
    kept = torch.tensor([[True] * 4, [False] * 4])
    fitted = refit_rows(rows, kept, torch.eye(4, dtype=torch.float64))
    assert torch.equal(fitted[0], rows[0])
    assert torch.equal(fitted[1], torch.zeros(4, dtype=torch.float64))


def test_dead_inputs_are_no_obstacle() -> None:
    rows, kept = torch.randn(1, 3, dtype=torch.float64), torch.tensor([[True, False, True]])
    assert torch.allclose(refit_rows(rows, kept, torch.zeros(3, 3, dtype=torch.float64)), rows * kept)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(6, 4), (5, 6)),
        (nn.Linear(6, 4), (5, 3, 6)),
        (nn.Conv2d(2, 4, 3), (3, 2, 6, 7)),
        (nn.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0), dilation=(1, 2), groups=2), (3, 4, 6, 7)),
        (nn.Conv2d(3, 3, 3, padding="valid", groups=3), (2, 3, 5, 5)),
    ],
)
def test_columns_times_rows_are_the_layers_outputs(layer: nn.Linear | nn.Conv2d, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    assert can_refit(layer)
    columns = input_columns(layer, x)
    groups = len(columns)
    outputs = torch.cat([w.flatten(1) @ c for w, c in zip(layer.weight.chunk(groups), columns, strict=True)])  # [out, n]
    expected = layer(x).movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1)
    assert layer.bias is not None
    assert torch.allclose(outputs + layer.bias[:, None], expected, atol=1e-5)


@pytest.mark.parametrize(
    "layer", [nn.Conv1d(2, 2, 3), nn.Conv2d(1, 1, 3, padding="same"), nn.Conv2d(1, 1, 3, padding_mode="circular")]
)
def test_layers_that_are_not_known_are_said_to_be(layer: nn.Module) -> None:
    assert not can_refit(layer)


def test_second_moments_add_up_over_batches_and_leave_no_hooks() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(8, 3))
    x = torch.randn(150, 1, 3, 3)
    moments = second_moments(module, ["0", "2"], x)
    inner = module[0](x).detach().flatten(1).double()
    assert torch.allclose(moments["2"][0], inner.T @ inner, rtol=1e-5, atol=1e-4)
    assert moments["0"].shape == (1, 4, 4)
    assert not module[0]._forward_pre_hooks


def test_refitted_layer_errs_less_than_a_masked_one() -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2))
    x = 0.3 * torch.randn(30, 4, 8, 8) + torch.randn(30, 1, 8, 8)
    masks = {"0": torch.rand(6, 2, 3, 3) < 0.5}
    with torch.no_grad():
        dense = module(x)
        fitted = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2))
        fitted.load_state_dict(module.state_dict())
        refit(fitted, masks, second_moments(module, ["0"], x))
        apply_masks(module, masks)
        error, masked_error = (fitted(x) - dense).square().mean(), (module(x) - dense).square().mean()
    assert torch.equal(fitted.get_parameter("0.weight").ne(0), masks["0"])
    assert error < 0.8 * masked_error
