from __future__ import annotations

import dataclasses
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import cifar10_jpeg as module
from harness.data.cifar10_jpeg import DATA, TEST, TRAIN
from harness.errors import UserError

SHELF = os.environ.get("ASSAY_DATA", "absent")
at_hand = pytest.mark.skipif(not (Path(SHELF) / TEST.name).is_file(), reason="ASSAY_DATA names no folder with the JPEG copy")


def packed(seed: int, each: int) -> tuple[bytes, list[bytes], np.ndarray]:
    """A file of `each` smooth pictures a class, their JPEG bytes and labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(10), each).astype(np.uint8)
    jpegs = []
    for _ in labels:
        content = io.BytesIO()
        Image.fromarray(np.full((32, 32, 3), rng.integers(0, 256, 3), np.uint8)).save(content, "JPEG", quality=75)
        jpegs.append(content.getvalue())
    file = io.BytesIO()
    offsets = np.cumsum([0, *map(len, jpegs)])
    np.savez(
        file, jpeg=np.frombuffer(b"".join(jpegs), np.uint8), offsets=offsets, label=labels, classes=np.array(list("abcdefghij"))
    )
    return file.getvalue(), jpegs, labels


@pytest.fixture
def made_up(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, tuple[list[bytes], np.ndarray]]]:
    found = {}
    for name, pinned, each in (("TRAIN", TRAIN, 10), ("TEST", TEST, 3)):
        content, jpegs, labels = packed(each, each)
        (shelf / pinned.name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        monkeypatch.setattr(module, name, dataclasses.replace(pinned, size_bytes=len(content), sha256=digest))
        found[name] = (jpegs, labels)
    caches = (module._packed, module._pixels, module._splits)
    for cached in caches:
        cached.cache_clear()
    yield found
    for cached in caches:
        cached.cache_clear()


def test_every_image_is_in_one_split_with_its_label(made_up: dict[str, tuple[list[bytes], np.ndarray]]) -> None:
    jpegs, labels = made_up["TRAIN"]
    known = {
        np.asarray(Image.open(io.BytesIO(jpeg))).transpose(2, 0, 1).tobytes(): int(label)
        for jpeg, label in zip(jpegs, labels, strict=True)
    }
    seen = []
    for split, each in (("train", 9), ("validation", 1)):
        batch = DATA(scale="pixels").load(split)  # type: ignore[arg-type]
        assert np.bincount(batch.labels).tolist() == [each] * 10
        seen += [
            known[image.astype(np.uint8).tobytes()] == label for image, label in zip(batch.inputs, batch.labels, strict=True)
        ]
    assert len(seen) == 100 and all(seen)
    assert np.bincount(DATA().load("test").labels).tolist() == [3] * 10


def test_a_size_decodes_the_first(made_up: object) -> None:
    assert np.array_equal(DATA().load("test", 4).inputs, DATA().load("test").inputs[:4])


def test_it_is_always_named_as_a_copy() -> None:
    assert DATA().spec.title == "CIFAR-10, JPEG copy (quality 75)"


def test_without_the_files_the_lossless_images_are_pointed_to(shelf: Path) -> None:
    for ask in (DATA().source, DATA().fingerprint, lambda: DATA().load("test", 1)):
        with pytest.raises(UserError, match=r"no `cifar10_jpeg_\w+.npz` in .*use data set `cifar10`"):
            ask()


@at_hand
def test_the_copys_own_test_images_are_500_of_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_DATA", SHELF)
    batch = DATA(scale="pixels").load("test", 400)
    assert (
        batch.inputs.shape == (400, 3, 32, 32) and 20 <= np.bincount(batch.labels).min() <= np.bincount(batch.labels).max() <= 60
    )
    assert 100 < batch.inputs.mean() < 140 and 50 < batch.inputs.std() < 75  # CIFAR-10's are 121 and 62
