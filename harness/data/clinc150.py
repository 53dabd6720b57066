"""CLINC150 (Larson et al. 2019, CC BY 3.0): short questions to an assistant, of 150 intents; its out-of-scope questions are left out.

A text is split into lower-case words, numbers and signs; each becomes its number in a vocabulary of what occurs at least twice in the training
split, the most frequent first. None of the texts has more than 28.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.data import Batch, DataSpec, Source, Split, digest
from harness.data.sources import clinc

LENGTH = 28
PAD, UNKNOWN = 0, 1
LEAST = 2
VOCABULARY = 2829
"""With PAD and UNKNOWN; a fact of the pinned file, so that the spec needs no bytes."""
WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[0-9]+|[^\sa-z0-9]")


@dataclass(frozen=True, slots=True)
class Clinc150:
    """15,000 to train, 3,000 for validation, 4,500 to test: the published splits."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec((LENGTH,), clinc.INTENTS, "CLINC150 (in scope)", dtype="int64", vocabulary=VOCABULARY)

    def source(self) -> Source:
        return clinc.source()

    def fingerprint(self) -> str:
        self.source()
        return digest(clinc.FILE.sha256, LENGTH, LEAST, WORD.pattern, modules=(clinc,))

    def load(self, split: Split, size: int | None = None) -> Batch:
        return Batch(_tokens(split)[:size].copy(), clinc.questions()[split].intents[:size].copy())


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def vocabulary(texts: Iterable[str], least: int) -> dict[str, int]:
    """Numbers from 2 on of the words that occur at least so often, the most frequent first, then by the alphabet."""
    counts = Counter(word for text in texts for word in words(text))
    kept = sorted((word for word, count in counts.items() if count >= least), key=lambda word: (-counts[word], word))
    return {word: number for number, word in enumerate(kept, start=2)}


def tokens(text: str, numbers: Mapping[str, int]) -> list[int]:
    """LENGTH numbers, filled up with PAD."""
    found = [numbers.get(word, UNKNOWN) for word in words(text)[:LENGTH]]
    return found + [PAD] * (LENGTH - len(found))


@functools.cache
def _tokens(split: Split) -> npt.NDArray[np.int64]:
    """[n, LENGTH]."""
    numbers = vocabulary(clinc.questions()["train"].texts, LEAST)
    assert len(numbers) + 2 == VOCABULARY
    return np.array([tokens(text, numbers) for text in clinc.questions()[split].texts], np.int64)


DATA = Clinc150
