"""ImageNet (ILSVRC 2012) in folders of the user's own: `train/<synset>/*.JPEG` and `val/<synset>/*.JPEG`; classes are the synsets, sorted.

The shorter side is resized to 256, the middle 224 x 224 cut out. The official validation images test; of the training images ten of each class, by
hash, are held out for validation. Fingerprinted by the names of all files and the sizes of those in `val`.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from harness.data import Batch, DataSpec, Source, Split, digest, hashed_order
from harness.data.sources import images
from harness.data.sources.files import find_folder
from harness.data.sources.images import Scale, class_folders, decode_all, listed, scaled
from harness.errors import UserError

HELD_OUT = 10
SALT = "assay imagenet_folder 1"
HOW = (
    "ImageNet is had from image-net.org, on its terms; unpack it so that `train` and `val` have a folder for each synset, "
    "and name their folder with the parameter `path` or as `imagenet` in $ASSAY_DATA"
)


@dataclass(frozen=True, slots=True)
class ImagenetFolder:
    """All that is asked for is decoded into memory as float32 (0.6 MB an image): give a training split a size."""

    path: str = ""
    """Folder of `train` and `val`; empty: `imagenet` in $ASSAY_DATA."""
    classes: Annotated[int, Ge(2)] = 1000
    """As many as there are synset folders: a part of ImageNet has fewer."""
    scale: Scale = "imagenet"
    size: Annotated[int, Ge(8)] = 224
    resize: Annotated[int, Ge(8)] = 256
    train_images: Annotated[int, Ge(1)] = 10_000
    """Of the training split, so many are used: they are held in memory."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            (3, self.size, self.size), self.classes, "ImageNet" if self.classes == 1000 else f"ImageNet, {self.classes} classes"
        )

    def source(self) -> Source:
        return Source(str(self._folder()))

    def fingerprint(self) -> str:
        facts = (self.classes, self.scale, self.size, self.resize, self.train_images)
        return digest(_listing_sha256(self._folder()), SALT, HELD_OUT, facts, modules=(images,))

    def load(self, split: Split, size: int | None = None) -> Batch:
        folder = self._folder()
        names, labels = _split(folder, split)
        most = self.train_images if split == "train" else None
        files = [(name, (folder / name).read_bytes) for name in names[:most][:size]]
        pixels = decode_all(files, (self.size, self.size), self.resize)
        return Batch(scaled(pixels, self.scale), labels[: len(files)])

    def _folder(self) -> Path:
        folder = find_folder("imagenet_folder", "imagenet", self.path, HOW)
        found = {part: class_folders(folder / part) if (folder / part).is_dir() else () for part in ("train", "val")}
        if not found["train"] == found["val"] or len(found["val"]) != self.classes:
            raise UserError(
                f"imagenet_folder: {folder} has {len(found['train'])} folders in `train` and {len(found['val'])} in `val`, "
                f"not the same {self.classes} in both; {HOW}, or set the parameter `classes`"
            )
        return folder


@functools.cache
def _split(folder: Path, split: Split) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Files and labels, in a fixed shuffled order; ten of each class of `train` go to `validation`."""
    part = folder / ("val" if split == "test" else "train")
    files, labels = listed(part, class_folders(part))
    order = hashed_order(len(files), f"{SALT} {part.name}")
    if split != "test":
        place = np.empty(len(labels), np.int64)
        for label in np.unique(labels):
            of_class = order[labels[order] == label]
            place[of_class] = np.arange(len(of_class))  # how many of its class come before it
        order = order[(place[order] < HELD_OUT) == (split == "validation")]
    return tuple(f"{part.name}/{files[i]}" for i in order), labels[order]


@functools.cache
def _listing_sha256(folder: Path) -> str:
    train, _ = listed(folder / "train", class_folders(folder / "train"))
    val, _ = listed(folder / "val", class_folders(folder / "val"))
    sizes = [(folder / "val" / name).stat().st_size for name in val]
    return hashlib.sha256(repr((train, val, sizes)).encode()).hexdigest()


DATA = ImagenetFolder
