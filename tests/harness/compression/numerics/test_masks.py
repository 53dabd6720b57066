from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from harness.compression.numerics.masks import apply_masks, keep_largest

pytestmark = pytest.mark.torch


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    values=st.randoms(use_true_random=False),
    sparsity=st.floats(0.01, 0.99),
)
def test_global_removes_exactly_the_share_and_nothing_larger_than_what_stays(
    sizes: list[int], values: object, sparsity: float
) -> None:
    draw = values.choice  # type: ignore[attr-defined]
    scores = {
        str(i): torch.tensor([float(draw([0, 1, 2, 3])) for _ in range(size)]) for i, size in enumerate(sizes)
    }  # full of ties
    masks = keep_largest(scores, sparsity, "global")
    every, kept = torch.cat(list(scores.values())), torch.cat(list(masks.values()))
    assert int((~kept).sum()) == round(sparsity * len(every))
    if kept.any() and not kept.all():
        assert every[~kept].max() <= every[kept].min()


def test_local_removes_the_share_of_each_tensor() -> None:
    scores = {"a": torch.rand(4, 5), "b": torch.rand(3, 2, 2) + 100}
    masks = keep_largest(scores, 0.3, "local")
    assert {name: int((~mask).sum()) for name, mask in masks.items()} == {"a": 6, "b": round(0.3 * 12)}
    assert {name: mask.shape for name, mask in masks.items()} == {"a": (4, 5), "b": (3, 2, 2)}


def test_global_takes_the_smallest_wherever_they_are() -> None:
    masks = keep_largest({"a": torch.tensor([1.0, 9.0]), "b": torch.tensor([[2.0], [8.0], [3.0]])}, 0.6, "global")
    assert masks["a"].tolist() == [False, True]
    assert masks["b"].tolist() == [[False], [True], [False]]


def test_ties_leave_in_order() -> None:
    masks = keep_largest({"a": torch.ones(3), "b": torch.ones(3)}, 0.5, "global")
    assert masks["a"].tolist() == [False] * 3
    assert masks["b"].tolist() == [True] * 3


def test_apply_masks_zeroes_and_leaves_the_rest() -> None:
    module = nn.Sequential(nn.Linear(3, 2))
    before = module.get_parameter("0.weight").detach().clone()
    mask = torch.tensor([[True, False, True], [False, True, True]])
    apply_masks(module, {"0": mask})
    assert torch.equal(module.get_parameter("0.weight"), before * mask)
