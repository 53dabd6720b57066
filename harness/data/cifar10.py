"""CIFAR-10 (Krizhevsky 2009): 60,000 colour 32x32 photographs of ten classes, read from the official binary archive."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from harness.data import Batch, DataSpec, Source, Split, digest, stratified_split
from harness.data.sources import images
from harness.data.sources.archives import tar_gz_members
from harness.data.sources.files import Pinned
from harness.data.sources.images import Pixels, Scale, scaled
from harness.errors import UserError

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE = Pinned(
    data="cifar10",
    name="cifar-10-binary.tar.gz",
    size_bytes=170_052_171,
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    how=f"get {URL} (the *binary* version) and put it into $ASSAY_DATA",
    url=URL,
)
TRAIN = tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6))
TEST = ("cifar-10-batches-bin/test_batch.bin",)
RECORDS = 10_000
"""Of each file: a byte of label, then 3 x 32 x 32 bytes of pixels, red first."""
SALT = "assay cifar10 1"
VALIDATION = Fraction(1, 10)


@dataclass(frozen=True, slots=True)
class Cifar10:
    """45,000 to train, 5,000 for validation (500 a class), the official 10,000 to test."""

    scale: Scale = "unit"
    """`imagenet` is what the published CIFAR ResNets were trained with, `pixels` what MLPerf Tiny's was."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec((3, 32, 32), 10, "CIFAR-10")

    def source(self) -> Source:
        return ARCHIVE.source()

    def fingerprint(self) -> str:
        self.source()
        return digest(ARCHIVE.sha256, SALT, VALIDATION, self.scale, modules=(images,))

    def load(self, split: Split, size: int | None = None) -> Batch:
        indices = _splits()[split][:size]
        pixels, labels = _records("test" if split == "test" else "train")
        return Batch(scaled(pixels[indices], self.scale), labels[indices])


def parse_records(content: bytes) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Pixels [n, 32, 32, 3] and labels [n] of a file of records."""
    table = np.frombuffer(content, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    if table[:, 0].max() > 9:
        raise UserError(f"cifar10: a label {table[:, 0].max()} where 0..9 are; get the archive again")
    return table[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), table[:, 0].astype(np.int64)


@functools.cache
def _records(part: str) -> tuple[Pixels, npt.NDArray[np.int64]]:
    files = dict.fromkeys(TEST if part == "test" else TRAIN, RECORDS * (1 + 3 * 32 * 32))
    members = tar_gz_members(ARCHIVE.read(), ARCHIVE.name, files)
    return parse_records(b"".join(members[name] for name in files))


@functools.cache
def _splits() -> dict[Split, npt.NDArray[np.int64]]:
    train = stratified_split(_records("train")[1], {"validation": VALIDATION}, SALT)
    return {**train, "test": stratified_split(_records("test")[1], {}, f"{SALT} test")["train"]}


DATA = Cifar10
