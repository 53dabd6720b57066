"""What outputs mean: the loss of each kind against NumPy, and one sample an example for each metric."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.criterion import CLASSIFICATION, METHODS, Criterion
from harness.data import Batch
from harness.errors import WrongAnswer
from results.quality import QUALITIES

SCORES = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.5, 0.5]], np.float32)
LABELS = np.array([1, 1, 1, 0])


def batch(labels: npt.ArrayLike = LABELS, **more: Any) -> Batch:
    found = np.asarray(labels, np.int64)
    return Batch(np.zeros((len(found), 3), np.float32), found, **more)


def test_every_metric_has_its_words_and_its_statistic() -> None:
    assert set(METHODS) == set(QUALITIES)


def test_top1_is_a_hit_or_a_miss_an_example() -> None:
    found = CLASSIFICATION.judge("top1", SCORES, batch())
    assert found.value.tolist() == [1, 0, 1, 1] and found.label.tolist() == LABELS.tolist()


def test_top5_takes_the_first_of_equal_scores() -> None:
    scores = np.array([[0, 1, 2, 3, 4, 5, 6], [1, 1, 1, 1, 1, 1, 1], [0, 1, 2, 3, 4, 5, 6]], np.float32)
    assert CLASSIFICATION.judge("top5", scores, batch([2, 5, 1])).value.tolist() == [1, 0, 0]


def test_f1_keeps_the_predicted_class() -> None:
    assert CLASSIFICATION.judge("f1", SCORES, batch()).value.tolist() == [1, 0, 1, 0]


def test_auc_of_two_classes_is_their_difference() -> None:
    found = CLASSIFICATION.judge("auc", SCORES, batch())
    assert found.value.tolist() == pytest.approx([0.8, -0.6, 0.4, 0.0])
    with pytest.raises(WrongAnswer, match="2 classes, not of 3"):
        CLASSIFICATION.judge("auc", np.zeros((4, 3), np.float32), batch())


def test_a_reconstruction_is_scored_by_its_error_and_groups_by_their_mean() -> None:
    criterion = Criterion(("auc",), "reconstruction")
    outputs = np.array([[1, 0, 0], [0, 0, 0], [3, 0, 0], [0, 3, 0]], np.float32)
    assert criterion.judge("auc", outputs, batch()).value.tolist() == pytest.approx([1 / 3, 0, 3, 3])
    grouped = criterion.judge("auc", outputs, batch([0, 0, 1, 1], groups=np.array([7, 7, 2, 2])))
    assert grouped.value.tolist() == pytest.approx([3, 1 / 6]) and grouped.label.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros((3, 2)), r"shape \[3, 2\] are not class scores of 2 examples"),
        (np.zeros((2, 2, 1)), "are not class scores"),
        (np.zeros(2), "are not class scores"),
        (np.array([[0, math.nan], [0, 1]]), "1 of 2 examples have outputs that are not finite"),
    ],
)
def test_what_is_no_score_is_wrong(scores: npt.NDArray[np.float64], message: str) -> None:
    with pytest.raises(WrongAnswer, match=message):
        CLASSIFICATION.judge("top1", scores, batch([0, 1]))


def test_what_is_no_reconstruction_is_wrong() -> None:
    with pytest.raises(WrongAnswer, match="not a reconstruction of 4 examples"):
        Criterion(("auc",), "reconstruction").judge("auc", np.zeros((4, 2)), batch())
