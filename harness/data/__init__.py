"""Data sets: a file exports `DATA`, a frozen dataclass that loads a split and knows where its bytes come from."""

from __future__ import annotations

from dataclasses import dataclass
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
