from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.compression.numerics.exchange import (
    Exchanged,
    Slicing,
    coefficient_bits,
    factors,
    fit_weights,
    kept_rows,
    levels,
    of_levels,
    on_basis_grid,
    powers_of_two,
    refusal,
    stored_bits,
)

pytestmark = pytest.mark.torch

EVERY = torch.ones(1, 1, 1, dtype=torch.bool)


def grid(exponents: int) -> list[float]:
    powers = [2.0**p for p in range(1 - exponents, 1)]
    return sorted({0.0, *powers, *(-power for power in powers)})


@pytest.mark.parametrize("exponents", [1, 2, 3, 7])
def test_powers_of_two_are_the_nearest_there_are(exponents: int) -> None:
    values = torch.linspace(-1.7, 1.7, 4001, dtype=torch.float64)
    for value, found in zip(values.tolist(), powers_of_two(values, exponents).tolist(), strict=True):
        assert found in grid(exponents)
        assert abs(found - value) == min(abs(point - value) for point in grid(exponents))


def test_levels_number_the_grid_from_the_smallest_power() -> None:
    values = torch.tensor(grid(4))
    assert levels(values, 4).tolist() == [-4, -3, -2, -1, 0, 1, 2, 3, 4]
    assert torch.equal(of_levels(levels(values, 4), 4), values)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 4), st.integers(1, 70), st.sampled_from([1, 3, 5]), st.sampled_from([1, 2, 3])),
        st.tuples(st.integers(1, 4), st.integers(1, 1300)),
    )
)
def test_cutting_and_joining_gives_the_weight_back(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape)
    slicing = Slicing.of(weight.shape)
    slices = slicing.cut(weight)
    assert slices.shape[1] <= 192
    assert slices.shape[2] == slicing.width == (shape[-1] if len(shape) > 2 and shape[-1] > 1 else 3)
    assert torch.equal(slicing.joined(slices, weight.shape), weight)


def test_a_filter_is_cut_into_rows_of_its_kernels() -> None:
    weight = torch.arange(2 * 4 * 9.0).view(2, 4, 3, 3)
    assert torch.equal(Slicing.of(weight.shape).cut(weight)[1], weight[1].reshape(12, 3))


@pytest.mark.parametrize("sparsity", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("exponents", [1, 4, 7])
def test_coefficients_are_powers_of_two_and_the_share_of_zero_rows_is_exact(sparsity: float, exponents: int) -> None:
    slices = torch.randn(5, 30, 3)
    kept = kept_rows(slices, sparsity)
    found = factors(slices, kept, exponents)
    assert set(found.coefficients.flatten().tolist()) <= set(grid(exponents))
    assert int((~kept).sum()) == round(sparsity * 150)
    assert bool((found.coefficients[(~kept).expand_as(slices)] == 0).all())


def test_the_product_is_what_shifts_and_additions_of_integers_give() -> None:
    """Exactly: B's entries are integers times a power of two, Ce's are powers of two."""
    slices = torch.randn(4, 20, 3)
    found = factors(slices, EVERY, 7)
    for c, b, product in zip(found.coefficients.tolist(), found.basis.tolist(), found.product().tolist(), strict=True):
        step = next(2.0**p for p in range(-40, 10) if max(abs(x) for row in b for x in row) / 2.0**p <= 127)
        codes = [[round(x / step) for x in row] for row in b]
        assert [[code * step for code in row] for row in codes] == b
        for row, wanted in zip(c, product, strict=True):
            sums = [0, 0, 0]
            for coefficient, line in zip(row, codes, strict=True):
                if coefficient:
                    shift = 6 + round(math.log2(abs(coefficient)))  # of 7 exponents the smallest is 2^-6
                    sums = [s + int(math.copysign(1, coefficient)) * (code << shift) for s, code in zip(sums, line, strict=True)]
            assert [s * step / 64 for s in sums] == wanted


def test_the_best_round_is_no_worse_than_the_first_and_errors_fall_with_exponents_and_rows() -> None:
    torch.manual_seed(0)
    slices = torch.randn(16, 192, 3)
    errors = [factors(slices, EVERY, exponents).error for exponents in (1, 2, 3, 5, 7)]
    first = [factors(slices, EVERY, exponents, iterations=1).error for exponents in (1, 2, 3, 5, 7)]
    assert all(best < one for best, one in zip(errors, first, strict=True))
    assert errors == sorted(errors, reverse=True)
    sparse = [factors(slices, kept_rows(slices, sparsity), 7).error for sparsity in (0.8, 0.5, 0.2)]
    assert sparse == sorted(sparse, reverse=True)


def test_independent_weights_gain_little_as_was_found_before() -> None:
    """On Gaussian 192 x 3 slices others found 0.189 of relative error, 0.262 by 3 exponents, 0.497 by half the rows (0.469 by pruning alone)."""
    torch.manual_seed(1)
    slices = torch.randn(32, 192, 3)
    half = kept_rows(slices, 0.5)
    assert factors(slices, EVERY, 7).error == pytest.approx(0.188, abs=0.004)
    assert 0.22 < factors(slices, EVERY, 3).error < 0.262
    pruned = float((slices * ~half).norm() / slices.norm())
    assert pruned < factors(slices, half, 7).error < pruned + 0.04


def test_correlated_rows_need_few_coefficients() -> None:
    """Rows that are powers of two times the same vectors are found exactly but for the rounding of the basis."""
    torch.manual_seed(0)
    powers = torch.exp2(-torch.randint(0, 6, (8, 40, 1)).float())
    slices = torch.cat([powers[:, :, :], torch.zeros(8, 40, 2)], 2) @ torch.randn(8, 3, 3)
    assert factors(slices, EVERY, 7).error < 0.01


def test_bases_have_eight_bits_and_pass_gradients() -> None:
    basis = torch.randn(6, 3, 3, requires_grad=True)
    rounded = on_basis_grid(basis)
    step = torch.exp2(torch.ceil(torch.log2(basis.detach().abs().amax((1, 2), keepdim=True) / 127)))
    codes = rounded / step
    assert torch.equal(codes, codes.round()) and float(codes.detach().abs().max()) <= 127
    rounded.sum().backward()  # type: ignore[no-untyped-call]
    assert basis.grad is not None and torch.equal(basis.grad, torch.ones_like(basis))


def test_coefficients_move_one_power_against_summed_signs() -> None:
    weight = torch.randn(1, 4, 3, 3)
    form = Exchanged(weight.shape, fit_weights(weight, 0.5, 3), 3)
    coefficients = form.found.coefficients
    up = -torch.ones_like(coefficients)  # a negative gradient asks for more
    assert torch.equal(form.stepped(coefficients, up, 3), coefficients)
    assert torch.equal(form.stepped(coefficients, up, 3), coefficients)
    moved = form.stepped(coefficients, up, 3)
    wanted = (levels(coefficients, 3) + 1).clamp(max=3) * form.kept
    assert torch.equal(levels(moved, 3), wanted)
    assert torch.equal(form.signs, torch.where(form.kept, 0.0, -3.0).expand_as(form.signs))
    for _ in range(60):
        moved = form.stepped(moved, up, 3)
    assert torch.equal(moved, form.kept.expand_as(moved).float())  # the largest power, and pruned rows stay zero


def test_storage_is_that_of_the_paper() -> None:
    """3x3 kernels, 4-bit coefficients, 8-bit basis: 3 Ci (1 + 12 (1 - s)) + 72 bits a filter, and here 8 more for the basis' exponent."""
    assert coefficient_bits(7) == 4 and coefficient_bits(3) == 3 and coefficient_bits(1) == 2
    assert stored_bits(torch.Size((8, 64, 3, 3)), 8 * 96, 7) == 8 * (3 * 64 * (1 + 12 * 0.5) + 72 + 8)
    assert stored_bits(torch.Size((2, 128, 3, 3)), 0, 7) == 2 * (3 * 128 + 2 * 80)


def test_filters_too_small_to_share_a_basis_are_refused() -> None:
    assert refusal(nn.Conv2d(8, 8, 3, groups=8)) is not None
    assert refusal(nn.Conv2d(8, 8, 3)) is None
    assert refusal(nn.Linear(4, 8)) is not None
    assert refusal(nn.Linear(256, 8)) is None
