"""Photographs: decoded to bytes, cut to a size, scaled as a network was trained with them, and folders of them, one a class."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.errors import UserError

Pixels = npt.NDArray[np.uint8]
Scale = Literal["unit", "imagenet", "symmetric", "pixels"]
"""`unit`: 0..1; `imagenet`: that less the mean of ImageNet's channels, over their deviation; `symmetric`: -1..1; `pixels`: 0..255."""

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
MAX_PIXELS = 1 << 26
"""The largest photograph of ImageNet has 2^24; more than this is a bomb."""
ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp"})


def scaled(pixels: Pixels, scale: Scale) -> npt.NDArray[np.float32]:
    """[n, height, width, 3] bytes as [n, 3, height, width] float32."""
    values = pixels.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    if scale == "pixels":
        return values
    if scale == "symmetric":
        values /= np.float32(127.5)
        values -= np.float32(1)
        return values
    values /= np.float32(255)
    if scale == "imagenet":
        values -= MEAN[:, None, None]
        values /= DEVIATION[:, None, None]
    return values


def decode(content: bytes, origin: str, size: tuple[int, int], resize: int | None = None) -> Pixels:
    """[height, width, 3] of a photograph of exactly this size (height, width).

    With `resize` its shorter side is first made so long (bilinear, antialiased), and the middle cut out: the usual evaluation on ImageNet,
    rounded as torchvision rounds.
    """
    from PIL import Image

    height, width = size
    try:
        with Image.open(io.BytesIO(content)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise UserError(f"{origin}: {opened.width} x {opened.height} pixels; at most {MAX_PIXELS:,} are decoded")
            picture = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{origin}: not an image that can be decoded ({error}); get it again") from error
    if resize is not None:
        shorter = min(picture.size)
        picture = picture.resize(
            (resize * picture.width // shorter, resize * picture.height // shorter), Image.Resampling.BILINEAR
        )
        left, top = round((picture.width - width) / 2), round((picture.height - height) / 2)
        picture = picture.crop((left, top, left + width, top + height))
    if picture.size != (width, height):
        raise UserError(f"{origin}: {picture.width} x {picture.height} pixels, not {width} x {height}")
    return np.asarray(picture)


def decode_all(files: Sequence[tuple[str, Callable[[], bytes]]], size: tuple[int, int], resize: int | None = None) -> Pixels:
    """[n, height, width, 3] of photographs given as (where from, how to read it): one encoded photograph at a time is in memory."""
    pixels = np.empty((len(files), *size, 3), np.uint8)
    for place, (origin, read) in zip(pixels, files, strict=True):
        place[:] = decode(read(), origin, size, resize)
    return pixels


def class_folders(folder: Path) -> tuple[str, ...]:
    """Names of the folders in it, sorted: the number of each is its class."""
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")))


def listed(folder: Path, classes: tuple[str, ...]) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Photographs `class/file` under a folder, sorted, and the class of each."""
    names, labels = [], []
    for label, name in enumerate(classes):
        if (folder / name).is_dir():
            files = sorted(
                entry.name for entry in (folder / name).iterdir() if entry.suffix.lower() in ENDINGS and entry.is_file()
            )
            names += [f"{name}/{file}" for file in files]
            labels += [label] * len(files)
    return tuple(names), np.array(labels, np.int64)
