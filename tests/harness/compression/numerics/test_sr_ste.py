from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.compiler.sparsity import zeros_of
from harness.compression.numerics.sr_ste import SparseRefined

pytestmark = pytest.mark.torch


@settings(max_examples=20, deadline=None)
@given(
    m=st.sampled_from([2, 4, 8]), n=st.integers(1, 7), out=st.integers(1, 5), groups=st.integers(1, 3), kernel=st.integers(1, 3)
)
def test_forward_keeps_the_n_largest_of_each_m_and_nothing_else(m: int, n: int, out: int, groups: int, kernel: int) -> None:
    n = min(n, m - 1)
    weight = torch.randn(out, groups * m, kernel, kernel)
    sparse = SparseRefined(n, m, 0.0)(weight)
    for row in range(out):
        for place in range(kernel * kernel):
            for group in range(groups):
                own = weight[row, group * m : group * m + m].flatten(1)[:, place]
                kept = sparse[row, group * m : group * m + m].flatten(1)[:, place]
                largest = set(own.abs().argsort(descending=True)[:n].tolist())
                assert [float(v) for v in kept] == [float(v) if i in largest else 0.0 for i, v in enumerate(own)]


def test_the_compiler_finds_the_pattern_in_the_weights() -> None:
    sparse = SparseRefined(2, 4, 0.0)(torch.randn(16, 16, 3, 3))
    assert zeros_of(sparse.permute(2, 3, 1, 0).numpy()).pattern == "2:4"


def test_gradients_are_dense_and_pruned_weights_decay() -> None:
    weight = torch.randn(3, 8, requires_grad=True)
    wanted = torch.randn(3, 8)
    sparse = SparseRefined(1, 4, 0.5)(weight)
    (sparse * wanted).sum().backward()
    assert weight.grad is not None
    assert torch.allclose(weight.grad, wanted + 0.5 * torch.where(sparse == 0, weight.detach(), 0.0))


def test_the_mask_follows_the_weights() -> None:
    form, weight = SparseRefined(1, 2, 0.0), torch.tensor([[1.0, 2.0]])
    assert form(weight).tolist() == [[0.0, 2.0]]
    weight[0, 0] = 3.0
    assert form(weight).tolist() == [[3.0, 0.0]]
