from __future__ import annotations

from fractions import Fraction

import numpy as np

from harness.data import Batch, hashed_order, stratified_split


def test_hashed_order_is_a_permutation_that_never_changes() -> None:
    assert hashed_order(8, "salt").tolist() == [5, 7, 6, 0, 1, 3, 2, 4]
    assert sorted(hashed_order(1000, "salt").tolist()) == list(range(1000))


def test_hashed_order_depends_on_the_salt() -> None:
    assert hashed_order(100, "a").tolist() != hashed_order(100, "b").tolist()


def test_stratified_split_takes_the_share_of_each_class() -> None:
    labels = np.array([0] * 100 + [1] * 50 + [2] * 7, np.int64)
    splits = stratified_split(labels, {"test": Fraction(1, 5), "validation": Fraction(1, 10)}, "s")
    counts = {split: np.bincount(labels[indices], minlength=3).tolist() for split, indices in splits.items()}
    assert counts == {"test": [20, 10, 1], "validation": [10, 5, 1], "train": [70, 35, 5]}


def test_stratified_split_parts_are_disjoint_and_complete() -> None:
    labels = hashed_order(333, "labels") % 4
    splits = stratified_split(labels, {"test": Fraction(1, 3)}, "s")
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(333))


def test_stratified_split_is_shuffled_so_that_a_prefix_is_a_fair_sample() -> None:
    labels = np.repeat(np.arange(10), 200)
    train = stratified_split(labels, {"test": Fraction(1, 5)}, "s")["train"]
    assert np.bincount(labels[train[:400]], minlength=10).min() >= 20  # 40 expected of each


def test_batch_first_takes_a_prefix_and_none_takes_all() -> None:
    batch = Batch(np.arange(6, dtype=np.float32)[:, None], np.arange(6))
    assert batch.first(2).labels.tolist() == [0, 1]
    assert batch.first(None) is batch
    assert len(batch.first(100)) == 6
