"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747): 70,000 grey 28x28 images of clothing, read from its four IDX files.

The sha256 pinned below are of the *unpacked* files. Debian's copies have other gzip headers than the official ones (no name, no
date); with the official headers restored all four have the MD5 sums that the authors publish, so the contents are the same.
"""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data import Batch, DataSpec, Source, Split, stratified_split
from harness.data.sources.files import download, download_folder, places
from harness.errors import UserError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
"""The official address (plain http, as published): what comes from it is used only with the pinned sha256."""
DOWNLOAD_BYTES = 30_878_645
"""Of the four official files."""
NAME = "fashion-mnist"
HOW = "install Debian's dataset-fashion-mnist, or put the four .gz files into $ASSAY_DATA/fashion-mnist"
SALT = "assay fashion_mnist 1"
VALIDATION = Fraction(5_000, 60_000)


@dataclass(frozen=True, slots=True)
class IdxFile:
    """One of the four files: its name without `.gz`, the shape of its array, and the sha256 of its unpacked bytes."""

    name: str
    shape: tuple[int, ...]
    sha256: str


TRAIN_IMAGES = IdxFile(
    "train-images-idx3-ubyte", (60_000, 28, 28), "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
)
TRAIN_LABELS = IdxFile("train-labels-idx1-ubyte", (60_000,), "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9")
TEST_IMAGES = IdxFile(
    "t10k-images-idx3-ubyte", (10_000, 28, 28), "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
)
TEST_LABELS = IdxFile("t10k-labels-idx1-ubyte", (10_000,), "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34")
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)


@dataclass(frozen=True, slots=True)
class FashionMnist:
    """Pixels 0..255 divided by 255 and nothing else. 55,000 to train, 5,000 for validation (500 a class), the official 10,000 to test."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec((1, 28, 28), 10, "Fashion-MNIST")

    def source(self) -> Source:
        found = _folder()
        return Source(URL, DOWNLOAD_BYTES) if found is None else Source(str(found))

    def fingerprint(self) -> str:
        """Of the pinned contents: bytes that differ from them are never loaded."""
        rule = f"{[file.sha256 for file in FILES]} {SALT} {VALIDATION}"
        return hashlib.sha256(rule.encode()).hexdigest()

    def load(self, split: Split, size: int | None = None) -> Batch:
        folder = source_folder()
        images, labels = (TEST_IMAGES, TEST_LABELS) if split == "test" else (TRAIN_IMAGES, TRAIN_LABELS)
        indices = _splits(folder)[split][:size]
        inputs = _array(folder, images)[indices].astype(np.float32) / np.float32(255.0)
        return Batch(inputs.reshape(-1, 1, 28, 28), _array(folder, labels)[indices].astype(np.int64))


def source_folder() -> Path:
    """The folder that holds all four files, downloaded if need be."""
    found = _folder()
    if found is not None:
        return found
    folder = download_folder(NAME)
    for file in FILES:
        url = f"{URL}/{file.name}.gz"
        right = functools.partial(unpack, file=file, origin=url)
        download(url, folder / f"{file.name}.gz", idx_size(file.shape) + 1024, right, HOW)
    return folder


def _folder() -> Path | None:
    """The first that has all four: Debian's package, $ASSAY_DATA, the cache."""
    folders = (DEBIAN, *places(NAME))
    return next((folder for folder in folders if all((folder / f"{file.name}.gz").is_file() for file in FILES)), None)


def idx_size(shape: tuple[int, ...]) -> int:
    """Bytes of an IDX file of unsigned bytes: magic, one big-endian length an axis, the values."""
    return 4 + 4 * len(shape) + int(np.prod(shape))


def unpack(packed: bytes, file: IdxFile, *, origin: str) -> bytes:
    """The unpacked bytes, if they are the pinned ones; never more than the file may hold is unpacked."""
    limit = idx_size(file.shape)
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        content = stream.decompress(packed, limit + 1)
    except zlib.error as error:
        raise UserError(f"fashion_mnist: {origin} is no gzip file ({error}); delete it and get it again") from error
    if len(content) != limit or not stream.eof:
        raise UserError(f"fashion_mnist: {origin} does not unpack to {limit:,} bytes; delete it and get it again")
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise UserError(
            f"fashion_mnist: {origin} has sha256 {found} unpacked, expected {file.sha256}; delete it and get it again"
        )
    return content


def parse_idx(content: bytes, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes (type 0x08), of exactly this shape."""
    header = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
    if content[: len(header)] != header or len(content) != idx_size(shape):
        raise UserError(
            f"fashion_mnist: not an IDX file of unsigned bytes of shape {shape}: header {content[: len(header)].hex()}"
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


@functools.cache
def _array(folder: Path, file: IdxFile) -> npt.NDArray[np.uint8]:
    path = folder / f"{file.name}.gz"
    return parse_idx(unpack(path.read_bytes(), file, origin=str(path)), file.shape)


@functools.cache
def _splits(folder: Path) -> Mapping[Split, npt.NDArray[np.int64]]:
    train = stratified_split(_array(folder, TRAIN_LABELS).astype(np.int64), {"validation": VALIDATION}, SALT)
    test = stratified_split(_array(folder, TEST_LABELS).astype(np.int64), {}, f"{SALT} test")["train"]
    return {**train, "test": test}


DATA = FashionMnist
