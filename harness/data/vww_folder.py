"""Visual Wake Words (Chowdhery et al. 2019, arXiv:1906.05721) as MLPerf Tiny packs it: 96x96 photographs with a person or without one.

The folder is the unpacked archive, `vw_coco2014_96`, with `non_person` and `person`. A tenth tests and a tenth validates, by hash; the benchmark's own
1,000 test images are others. Fingerprinted by names and sizes. Written after the benchmark's description; not yet run on the real images.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from harness.data import Batch, DataSpec, Source, Split, digest, stratified_split
from harness.data.sources import images
from harness.data.sources.files import find_folder
from harness.data.sources.images import Scale, class_folders, decode_all, listed, scaled
from harness.errors import UserError

CLASSES = ("non_person", "person")
SIZE = 96
SALT = "assay vww_folder 1"
SHARES: dict[Split, Fraction] = {"test": Fraction(1, 10), "validation": Fraction(1, 10)}
HOW = (
    "get https://www.silabs.com/public/files/github/machine_learning/benchmarks/datasets/vw_coco2014_96.tar.gz, unpack it in "
    "$ASSAY_DATA, or name its folder with the parameter `path`"
)


@dataclass(frozen=True, slots=True)
class VwwFolder:
    path: str = ""
    """The folder `vw_coco2014_96`; empty: the one in $ASSAY_DATA."""
    scale: Scale = "unit"
    train_images: Annotated[int, Ge(1)] = 20_000
    """Of the training split, so many are used: they are held in memory as float32, 0.1 MB an image."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec((3, SIZE, SIZE), len(CLASSES), "Visual Wake Words")

    def source(self) -> Source:
        return Source(str(self._folder()))

    def fingerprint(self) -> str:
        return digest(_listing_sha256(self._folder()), SALT, SHARES, self.scale, self.train_images, modules=(images,))

    def load(self, split: Split, size: int | None = None) -> Batch:
        folder = self._folder()
        files, labels = _listed(folder)
        most = self.train_images if split == "train" else None
        indices = _splits(folder)[split][:most][:size]
        readers = [(files[i], (folder / files[i]).read_bytes) for i in indices]
        return Batch(scaled(decode_all(readers, (SIZE, SIZE)), self.scale), labels[indices])

    def _folder(self) -> Path:
        folder = find_folder("vww_folder", "vw_coco2014_96", self.path, HOW)
        if class_folders(folder) != CLASSES:
            raise UserError(f"vww_folder: {folder} does not hold the folders {' and '.join(CLASSES)} alone; {HOW}")
        return folder


@functools.cache
def _listed(folder: Path) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    return listed(folder, CLASSES)


@functools.cache
def _splits(folder: Path) -> dict[Split, npt.NDArray[np.int64]]:
    return stratified_split(_listed(folder)[1], SHARES, SALT)


@functools.cache
def _listing_sha256(folder: Path) -> str:
    files = _listed(folder)[0]
    return hashlib.sha256(repr([(name, (folder / name).stat().st_size) for name in files]).encode()).hexdigest()


DATA = VwwFolder
