"""Grids, and weights that go onto them one after another: the loop in C against the same in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.compression.numerics import obq
from harness.compression.numerics.obq import Grid, grid, quantized
from harness.compression.numerics.obs import Hessian, hessian

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("compiler_cache")]


def layer(rows: int, width: int, seed: int) -> tuple[torch.Tensor, Hessian]:
    """Weights [rows, width] and the Hessian of inputs that depend on each other."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(width, width, generator=generator, dtype=torch.float64) / width**0.5
    x = torch.randn(width, 40 * width, generator=generator, dtype=torch.float64)
    x = (mixed @ x + 0.3 * x).relu()
    return torch.randn(rows, width, generator=generator, dtype=torch.float64), hessian(x @ x.T, 1e-2)


def error(now: torch.Tensor, dense: torch.Tensor, h: Hessian) -> float:
    return float(((now.double() - dense) @ h.matrix * (now.double() - dense)).sum())


def codes(values: torch.Tensor, on: Grid) -> torch.Tensor:
    return (values / on.scale[:, None]).round()


@pytest.fixture(params=["C", "NumPy"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "NumPy":
        monkeypatch.setattr(obq, "compiled_loops", lambda _source: None)


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_every_weight_lies_on_its_rows_grid_exactly(bits: int, symmetric: bool) -> None:
    w, h = layer(4, 45, seed=bits)
    on = grid(w, bits, symmetric=symmetric)
    found = quantized(w, h, on)
    integers = codes(found, on)
    assert torch.equal(integers * on.scale[:, None], found)
    assert bool((integers >= on.low[:, None]).all() and (integers <= on.high[:, None]).all())
    assert torch.equal(on.high - on.low, torch.full((4,), 2.0**bits - 1))
    assert bool((on.low <= 0).all() and (on.high >= 0).all())


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_over_a_layer_it_errs_far_less_than_rounding(bits: int) -> None:
    w, h = layer(32, 72, seed=9)
    on = grid(w, bits)
    assert error(quantized(w, h, on), w, h) < 0.6 * error(on.nearest(w), w, h)


@pytest.mark.parametrize("symmetric", [True, False])
def test_c_and_numpy_give_the_same(symmetric: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    w, h = layer(3, 108, seed=1)
    w[:, ::5] = 0.0
    on = grid(w, 3, symmetric=symmetric)
    fast = quantized(w, h, on)
    monkeypatch.setattr(obq, "compiled_loops", lambda _source: None)
    slow = quantized(w, h, on)
    assert float((fast == slow).double().mean()) > 0.9  # float32 sees some pairs as equal, and what follows differs
    assert error(fast, w, h) == pytest.approx(error(slow, w, h), rel=0.05)


@pytest.mark.usefixtures("loops")
def test_zeros_stay_zeros_and_the_others_are_as_if_these_inputs_were_not_there() -> None:
    w, h = layer(3, 20, seed=2)
    gone = [1, 4, 5, 13, 19]
    stays = [i for i in range(20) if i not in gone]
    w[:, gone] = 0.0
    on = grid(w, 4)
    found = quantized(w, h, on)
    alone = h.matrix[stays][:, stays]
    assert bool((found[:, gone] == 0).all())
    assert torch.equal(found[:, stays], quantized(w[:, stays], Hessian(alone, torch.linalg.inv(alone)), on))


@pytest.mark.usefixtures("loops")
def test_what_lies_beyond_the_grid_goes_first_so_that_others_can_make_up_for_it() -> None:
    """Two inputs that are nearly one: 1.0 does not fit on a grid that ends at 0.5, its neighbour must take over the rest."""
    h = hessian(torch.tensor([[1.0, 0.99], [0.99, 1.0]], dtype=torch.float64), 1e-6)
    w = torch.tensor([[1.0, 0.02]], dtype=torch.float64)
    on = Grid(torch.tensor([0.25]), torch.tensor([-2.0]), torch.tensor([2.0]))
    assert on.nearest(w).tolist() == [[0.5, 0.0]]
    assert quantized(w, h, on).tolist() == [[0.5, 0.5]]


@pytest.mark.usefixtures("loops")
def test_without_correlation_it_is_rounding_to_the_nearest() -> None:
    w = torch.randn(4, 30, dtype=torch.float64)
    on = grid(w, 4)
    assert torch.equal(quantized(w, hessian(torch.eye(30, dtype=torch.float64), 1e-2), on), on.nearest(w))


def test_the_searched_grid_errs_no_more_than_the_full_one_in_the_norm_it_is_searched_by() -> None:
    w = torch.randn(16, 200, generator=torch.Generator().manual_seed(3))
    for bits, symmetric in ((2, True), (4, True), (3, False)):
        full = grid(w, bits, symmetric=symmetric, search=False)
        best = grid(w, bits, symmetric=symmetric)

        def norm(on: Grid) -> torch.Tensor:
            return (on.nearest(w) - w).abs().pow(2.4).sum(1)

        assert bool((norm(best) <= norm(full)).all())
        assert bool((best.scale < full.scale).any())


def test_the_full_grids_reach_what_the_weights_reach() -> None:
    w = torch.tensor([[-1.0, 0.2, 3.0], [0.5, 1.0, 2.0], [-4.0, -2.0, -1.0]])
    symmetric, spanning = (grid(w, 4, symmetric=s, search=False) for s in (True, False))
    assert torch.allclose(symmetric.scale, torch.tensor([6.0, 4.0, 8.0]) / 15)
    assert torch.equal(symmetric.low, torch.full((3,), -8.0)) and torch.equal(symmetric.high, torch.full((3,), 7.0))
    assert torch.allclose(spanning.scale, torch.tensor([4.0, 2.0, 4.0]) / 15)
    assert spanning.low.tolist() == [-4.0, 0.0, -15.0]


@pytest.mark.usefixtures("loops")
def test_a_row_of_zeros_stays_one() -> None:
    w, h = layer(2, 9, seed=4)
    w[1] = 0.0
    for symmetric in (True, False):
        on = grid(w, 2, symmetric=symmetric)
        found = quantized(w, h, on)
        assert bool(torch.isfinite(found).all())
        assert bool((found[1] == 0).all())


def test_the_same_again_gives_the_same_bits() -> None:
    w, h = layer(6, 40, seed=5)
    on = grid(w, 3)
    assert np.array_equal(quantized(w, h, on).numpy(), quantized(w, h, on).numpy())
