from __future__ import annotations

import itertools

import pytest
import torch

from harness.compression.numerics.codebook import Shared, shared, stored_bits

pytestmark = pytest.mark.torch


def error(values: torch.Tensor, table: torch.Tensor, codes: torch.Tensor) -> float:
    return float((values - table[codes]).square().sum())


def test_each_value_has_its_nearest_entry_and_each_entry_is_the_mean_of_its_values() -> None:
    values = torch.randn(500)
    table, codes = shared(values, 8)
    nearest = (values[:, None] - table).abs().argmin(1)
    assert torch.equal(codes, nearest)
    assert torch.equal(table, table.sort()[0])
    for entry in set(codes.tolist()):
        assert float(table[entry]) == pytest.approx(float(values[codes == entry].mean()), abs=1e-5)


def test_two_entries_are_the_best_split_of_well_parted_values() -> None:
    values = torch.tensor([-1.1, -1.0, -0.9, 2.0, 2.2, 2.5])
    ordered = values.sort()[0]
    best = min(
        float(sum(((part - part.mean()) ** 2).sum() for part in (ordered[:cut], ordered[cut:]))) for cut in range(1, len(values))
    )
    assert error(values, *shared(values, 2)) == pytest.approx(best, abs=1e-6)


def test_more_entries_leave_less_and_as_many_as_values_nothing() -> None:
    values = torch.randn(200)
    errors = [error(values, *shared(values, 2**bits)) for bits in range(1, 6)]
    assert all(more > less for more, less in itertools.pairwise(errors))
    few = torch.tensor([-2.0, 0.0, 1.0, 1.0, -2.0])
    assert error(few, *shared(few, 4)) == 0.0


def test_equal_weights_are_kept() -> None:
    values = torch.full((7,), 0.3)
    table, codes = shared(values, 4)
    assert torch.allclose(table[codes], values)


def test_an_entrys_gradient_is_the_sum_of_its_weights() -> None:
    weight, wanted = torch.randn(4, 5), torch.randn(4, 5)
    form = Shared(weight, 2)
    table = form.right_inverse(weight).clone().requires_grad_()
    (form(table) * wanted).sum().backward()
    assert table.grad is not None
    assert table.grad.tolist() == pytest.approx([float(wanted[form.codes == entry].sum()) for entry in range(4)], abs=1e-6)


def test_storage_is_codes_and_a_table() -> None:
    assert stored_bits(1000, 4) == 1000 * 4 + 16 * 32
