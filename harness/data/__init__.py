"""Data sets: a file exports `DATA`, a frozen dataclass that loads a split and knows where its bytes come from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Split = Literal["train", "validation", "test"]
"""`validation` is held out before any training, for searches and early stopping; accuracy is reported on `test` alone."""


@dataclass(frozen=True, slots=True)
class DataSpec:
    """What a network must fit: known without loading the data."""

    input_shape: tuple[int, ...]
    """Of one example, channels first: (1, 8, 8)."""
    classes: int
    title: str
    """As it must be named in a table."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples of one split, in a fixed order."""

    inputs: npt.NDArray[np.float32]
    """[n, *input_shape], preprocessed as the network wants them."""
    labels: npt.NDArray[np.int64]
    """[n]."""

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, size: int | None) -> Batch:
        """The first `size` examples; None for all. Splits are shuffled once by a fixed seed, so a prefix is a fair sample."""
        return self if size is None else Batch(self.inputs[:size], self.labels[:size])


class Data(Protocol):
    """The shape of a DATA: a frozen dataclass whose fields are the parameters a suite may set."""

    @property
    def spec(self) -> DataSpec: ...

    def fingerprint(self) -> str:
        """sha256 over the source's bytes and the split rule; raises UserError when the source is missing, saying how to get it."""

    def load(self, split: Split) -> Batch: ...


def hashed_order(count: int, salt: str) -> npt.NDArray[np.int64]:
    """[count] the indices 0..count-1, shuffled by sha256 of salt and index: the same on every platform and NumPy release."""
    return np.array(sorted(range(count), key=lambda index: hashlib.sha256(f"{salt}:{index}".encode()).digest()), np.int64)


def stratified_split(
    labels: npt.NDArray[np.int64], shares: Mapping[Split, Fraction], salt: str
) -> dict[Split, npt.NDArray[np.int64]]:
    """Indices of each split, in shuffled order: of each class, its share (rounded) goes to each named split, the rest to `train`."""
    order = hashed_order(len(labels), salt)
    members: dict[Split, list[npt.NDArray[np.int64]]] = {"train": [], **{split: [] for split in shares}}
    for label in np.unique(labels):
        left = order[labels[order] == label]
        total = len(left)
        for split, share in shares.items():
            size = round(share * total)
            members[split].append(left[:size])
            left = left[size:]
        members["train"].append(left)
    place = np.empty(len(labels), np.int64)
    place[order] = np.arange(len(labels))
    return {split: _sorted_by(np.concatenate(parts), place) for split, parts in members.items()}


def _sorted_by(indices: npt.NDArray[np.int64], place: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return indices[np.argsort(place[indices], kind="stable")]
