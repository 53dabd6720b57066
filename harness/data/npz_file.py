"""Arrays of your own in one .npz file: `x_train`, `y_train`, `x_test`, `y_test` (and `x_validation`, `y_validation`), or `x` and `y` to be split.

`x` is [n, ...], channels first: float32 or float64 as the network wants it, uint8 (then 0..255 becomes 0..1), or int64 for tokens, 0 filling up.
`y` is [n] whole numbers from 0. What is not given is split off by class and hash: a tenth of the training examples for validation, and of `x`
first a fifth to test.
"""

from __future__ import annotations

import functools
import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data import Batch, DataSpec, Source, Split, digest, stratified_split
from harness.errors import UserError

MAX_BYTES = 8 << 30
TEST, VALIDATION = Fraction(1, 5), Fraction(1, 10)
SALT = "assay npz_file 1"
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
DTYPES = ("float32", "float64", "uint8", "int64")

Array = npt.NDArray[Any]
Pair = tuple[Array, npt.NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class NpzFile:
    path: str = ""
    """Of the .npz file."""

    @property
    def spec(self) -> DataSpec:
        inputs, _ = _arrays(self._file())["train"]
        pairs = _arrays(self._file()).values()
        classes = 1 + max(int(labels.max()) for _, labels in pairs)
        if inputs.dtype != np.int64:
            return DataSpec(inputs.shape[1:], classes, self._file().stem)
        words = 1 + max(int(given.max()) for given, _ in pairs)
        return DataSpec(inputs.shape[1:], classes, self._file().stem, dtype="int64", vocabulary=words)

    def source(self) -> Source:
        return Source(str(self._file()))

    def fingerprint(self) -> str:
        return digest(_sha256(self._file()), SALT, TEST, VALIDATION)

    def load(self, split: Split, size: int | None = None) -> Batch:
        inputs, labels = _arrays(self._file())[split]
        chosen = inputs[:size]
        if chosen.dtype == np.uint8:
            chosen = chosen.astype(np.float32) / np.float32(255)
        return Batch(chosen.astype(np.int64 if chosen.dtype == np.int64 else np.float32), labels[:size].copy())

    def _file(self) -> Path:
        if not self.path:
            raise UserError("npz_file: which file? Give it as `data: npz_file(path=my.npz)`")
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise UserError(f"npz_file: `{self.path}`: no such file")
        return path


@functools.cache
def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def _arrays(path: Path) -> Mapping[Split, Pair]:
    """Inputs and labels of each split."""
    return split_pairs(read_arrays(path), str(path))


def read_arrays(path: Path) -> dict[str, Array]:
    """Every array of the file; nothing in it is ever unpickled, and no more than MAX_BYTES of it is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_BYTES:
            raise UserError(f"{path}: unpacks to {unpacked:,} bytes; at most {MAX_BYTES:,} are held in memory")
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, MemoryError, NotImplementedError) as error:
        raise UserError(f"{path}: not an .npz file of plain arrays ({error}); write it with numpy.savez") from error


def split_pairs(arrays: Mapping[str, Array], origin: str) -> dict[Split, Pair]:
    """The pairs `x`, `y` of each split, checked, with what is not given split off."""
    given = {split for split in SPLITS if f"x_{split}" in arrays}
    known = {f"{letter}_{split}" for split in SPLITS for letter in "xy"} | {"x", "y"}
    if unknown := sorted(set(arrays) - known):
        raise UserError(f"{origin}: array `{unknown[0]}` is not one of {', '.join(sorted(known))}")
    if ("x" in arrays) == bool(given) or (given and not {"train", "test"} <= given):
        raise UserError(
            f"{origin}: it has {', '.join(sorted(arrays)) or 'no arrays'}; give x and y, or x_train, y_train, x_test and y_test"
        )
    if "x" in arrays:
        whole = _pair(arrays, "", origin)
        parts = stratified_split(whole[1], {"test": TEST, "validation": VALIDATION}, SALT)
        return _checked({split: _taken(whole, parts[split]) for split in SPLITS}, origin)
    pairs = {split: _pair(arrays, f"_{split}", origin) for split in SPLITS if split in given}
    if "validation" not in given:
        parts = stratified_split(pairs["train"][1], {"validation": VALIDATION}, SALT)
        pairs |= {split: _taken(pairs["train"], parts[split]) for split in ("train", "validation")}
    return _checked(pairs, origin)


def _taken(pair: Pair, indices: npt.NDArray[np.int64]) -> Pair:
    return pair[0][indices], pair[1][indices]


def _pair(arrays: Mapping[str, Array], ending: str, origin: str) -> Pair:
    if f"y{ending}" not in arrays:
        raise UserError(f"{origin}: there is no `y{ending}` beside `x{ending}`")
    inputs, labels = arrays[f"x{ending}"], arrays[f"y{ending}"]
    if str(inputs.dtype) not in DTYPES or inputs.ndim < 2:
        raise UserError(f"{origin}: x{ending} is {inputs.dtype}{list(inputs.shape)}; give [n, ...] of {', '.join(DTYPES)}")
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != inputs.shape[:1]:
        raise UserError(
            f"{origin}: y{ending} is {labels.dtype}{list(labels.shape)}; give whole numbers [{len(inputs)}], one an example"
        )
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        raise UserError(f"{origin}: x{ending} has values that are not finite")
    if len(labels) and min(labels.min(), inputs.min() if inputs.dtype == np.int64 else 0) < 0:
        raise UserError(f"{origin}: y{ending} (or a token of x{ending}) is negative; classes and tokens count from 0")
    return inputs, labels.astype(np.int64)


def _checked(pairs: dict[Split, Pair], origin: str) -> dict[Split, Pair]:
    kinds = {(inputs.dtype, inputs.shape[1:]) for inputs, _ in pairs.values()}
    if len(kinds) != 1:
        raise UserError(
            f"{origin}: the splits differ in shape or type: {', '.join(f'{t}{list(s)}' for t, s in sorted(kinds, key=str))}"
        )
    for split, (_, labels) in pairs.items():
        if not len(labels):
            raise UserError(f"{origin}: no example is left for `{split}`; give more")
    return pairs


DATA = NpzFile
