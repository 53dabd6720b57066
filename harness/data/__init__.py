"""Data sets: a file exports `DATA`, a frozen dataclass that loads a split and knows where its bytes come from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

Split = Literal["train", "validation", "test"]
"""`validation` is held out before any training, for searches and early stopping; quality is reported on `test` alone."""


@dataclass(frozen=True, slots=True)
class DataSpec:
    """What a network must fit: known without loading the data."""

    input_shape: tuple[int, ...]
    """Of one example, channels first: (1, 8, 8)."""
    classes: int
    """Labels are 0 ... classes - 1; normal and anomaly are two."""
    title: str
    """As it must be named in a table."""
    dtype: Literal["float32", "int64"] = "float32"
    """`int64`: token numbers 0 ... vocabulary - 1, where 0 fills up a short text."""
    vocabulary: int | None = None

    def example(self) -> npt.NDArray[Any]:
        """[1, *input_shape] an input whose values are of no consequence, to trace a network with."""
        return np.zeros((1, *self.input_shape), self.dtype)


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples of one split, in a fixed order."""

    inputs: npt.NDArray[Any]
    """[n, *input_shape], preprocessed as the network wants them."""
    labels: npt.NDArray[np.int64]
    """[n]."""
    groups: npt.NDArray[np.int64] | None = None
    """[n] examples of one group (the windows of a recording) are judged as one, by their mean score; None: each by itself."""

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, size: int | None) -> Batch:
        """The first `size` examples; None for all. Splits are shuffled once by a fixed seed, so a prefix is a fair sample."""
        if size is None:
            return self
        return Batch(self.inputs[:size], self.labels[:size], None if self.groups is None else self.groups[:size])


@dataclass(frozen=True, slots=True)
class Source:
    """Where a data set's bytes are, or will come from."""

    where: str
    """A path, or the address of a download."""
    download_bytes: int = 0
    """What the first `load` fetches; 0: nothing, the bytes are here."""


class Data(Protocol):
    """The shape of a DATA: a frozen dataclass whose fields are the parameters a suite may set."""

    @property
    def spec(self) -> DataSpec: ...

    def source(self) -> Source:
        """Fetches nothing; UserError where the bytes are neither here nor to be had without a person, saying how to get them."""

    def fingerprint(self) -> str:
        """sha256 over the source's bytes (or the sha256 they must have) and the split rule; fetches nothing, UserError as `source`."""

    def load(self, split: Split, size: int | None = None) -> Batch:
        """The first `size` examples of a split, None for all: a large set reads no more than it must. Downloads what is missing."""


def digest(*facts: object, modules: tuple[ModuleType, ...] = ()) -> str:
    """sha256 over facts that print the same everywhere, and over the sources of modules that turn bytes into examples."""
    found = hashlib.sha256(repr(facts).encode())
    for module in modules:
        assert module.__file__ is not None
        found.update(Path(module.__file__).read_bytes())
    return found.hexdigest()


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
