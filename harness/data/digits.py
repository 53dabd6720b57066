"""scikit-learn's handwritten digits: 1,797 real 8x8 images (UCI Optical Recognition of Handwritten Digits), in the package itself."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data import Batch, DataSpec, Source, Split, stratified_split
from harness.errors import UserError

EXAMPLES = 1797
SALT = "assay digits 1"
SHARES: dict[Split, Fraction] = {"test": Fraction(1, 5), "validation": Fraction(1, 10)}


@dataclass(frozen=True, slots=True)
class Digits:
    """Pixels 0..16 divided by 16 and nothing else, so the background stays 0 and padding is background."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec((1, 8, 8), 10, "Digits (scikit-learn)")

    def source(self) -> Source:
        return Source(str(_csv_path()))

    def fingerprint(self) -> str:
        rule = f"{SALT} {SHARES}"
        return hashlib.sha256(_csv_bytes() + rule.encode()).hexdigest()

    def load(self, split: Split, size: int | None = None) -> Batch:
        pixels, labels = _table()
        indices = _splits()[split][:size]
        inputs = (pixels[indices].astype(np.float32) / np.float32(16.0)).reshape(-1, 1, 8, 8)
        return Batch(inputs, labels[indices])


def _csv_path() -> Path:
    # The file is found without importing scikit-learn, which takes a second and is not needed to read a table.
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise UserError("digits: the data set comes with scikit-learn, which is not installed here; `pip install scikit-learn`")
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"


@functools.cache
def _csv_bytes() -> bytes:
    path = _csv_path()
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise UserError(f"digits: {path} cannot be read ({error}); reinstall scikit-learn") from error


def parse_digits(text: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pixels [1797, 64] in 0..16 and labels [1797] in 0..9 of the table, one image a line; anything else is UserError."""
    try:
        table = np.loadtxt(text.decode("ascii").splitlines(), delimiter=",", dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise UserError(
            f"digits: scikit-learn's digits.csv.gz is no table of numbers ({error}); reinstall scikit-learn"
        ) from error
    if table.shape != (EXAMPLES, 65) or table.min() < 0 or table[:, :64].max() > 16 or table[:, 64].max() > 9:
        raise UserError(
            f"digits: scikit-learn's digits.csv.gz is not 1797 rows of 64 pixels 0..16 and a label 0..9 (shape {table.shape}); "
            "reinstall scikit-learn"
        )
    return table[:, :64].astype(np.int64), table[:, 64].astype(np.int64)


@functools.cache
def _table() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return parse_digits(_csv_bytes())


@functools.cache
def _splits() -> dict[Split, npt.NDArray[np.int64]]:
    return stratified_split(_table()[1], SHARES, SALT)


DATA = Digits
