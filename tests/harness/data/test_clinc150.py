from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.data import Source
from harness.data import clinc150 as module
from harness.data.clinc150 import DATA, LENGTH, tokens, vocabulary, words
from harness.data.sources import clinc
from harness.data.sources.clinc import Questions

SHELF = os.environ.get("ASSAY_DATA", "absent")
at_hand = pytest.mark.skipif(not (Path(SHELF) / clinc.ZIP).is_file(), reason="ASSAY_DATA names no folder with CLINC150")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    module._tokens.cache_clear()
    yield
    module._tokens.cache_clear()


def test_words_are_lower_case_with_signs_apart() -> None:
    assert words("What's my 401k's  limit?") == ["what's", "my", "401", "k's", "limit", "?"]


def test_vocabulary_is_what_occurs_often_enough_the_most_frequent_first() -> None:
    assert vocabulary(["b a", "b c", "c b a d"], 2) == {"b": 2, "a": 3, "c": 4}


def test_tokens_are_filled_up_and_cut() -> None:
    numbers = {"balance": 2, "my": 3, "play": 4}
    assert tokens("play my trumpet", numbers) == [4, 3, 1] + [0] * (LENGTH - 3)
    assert tokens("my " * 40, numbers) == [3] * LENGTH


def test_the_vocabulary_is_of_the_training_split_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = {
        "train": Questions(("pay pay", "my my"), np.array([0, 1])),
        "validation": Questions(("pay rent rent",), np.array([0])),
        "test": Questions(("my pay",), np.array([1])),
    }
    monkeypatch.setattr(clinc, "questions", lambda: made_up)
    monkeypatch.setattr(module, "VOCABULARY", 4)
    batch = DATA().load("validation")
    assert batch.inputs[0, :4].tolist() == [3, 1, 1, 0] and batch.labels.tolist() == [0]
    assert batch.inputs.dtype == np.int64 and batch.inputs.shape[1:] == DATA().spec.input_shape


def test_planning_says_what_will_be_downloaded(shelf: Path) -> None:
    assert DATA().source() == Source(clinc.URL, clinc.FILE.size_bytes)
    assert len(DATA().fingerprint()) == 64


@at_hand
def test_the_real_questions_are_mostly_of_known_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_DATA", SHELF)
    clinc.questions.cache_clear()
    test = DATA().load("test")
    assert len(test) == 4500 and test.inputs.max() < (DATA().spec.vocabulary or 0)
    assert 0 < (test.inputs == 1).sum() / (test.inputs > 0).sum() < 0.1
    assert np.array_equal(DATA().load("test", 9).inputs, test.inputs[:9])
