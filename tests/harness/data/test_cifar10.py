"""CIFAR-10 from a made-up archive of the official layout: records, splits, scales, and what is wrong with a wrong one."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.data import Source, Split
from harness.data import cifar10 as module
from harness.data.cifar10 import ARCHIVE, DATA, TEST, TRAIN, parse_records
from harness.errors import UserError

EACH = 40
"""Records of a made-up file: four of each class."""


def records(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, (EACH, 3073), np.uint8)
    table[:, 0] = np.arange(EACH) % 10
    return table.tobytes()


def tar_gz(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, member in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(member)
            archive.addfile(info, io.BytesIO(member))
    return content.getvalue()


def pin(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = dataclasses.replace(ARCHIVE, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(module, "ARCHIVE", pinned)
    monkeypatch.setattr(module, "RECORDS", EACH)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    for cached in (module._records, module._splits):
        cached.cache_clear()
    yield
    for cached in (module._records, module._splits):
        cached.cache_clear()


@pytest.fixture
def archive(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    members = {name: records(seed) for seed, name in enumerate((*TRAIN, *TEST))}
    content = tar_gz({"cifar-10-batches-bin/readme.html": b"<html>", **members})
    (shelf / ARCHIVE.name).write_bytes(content)
    pin(content, monkeypatch)
    return members


def test_splits_hold_every_image_once_with_its_label(archive: dict[str, bytes]) -> None:
    batches = {split: DATA(scale="pixels").load(split) for split in ("train", "validation", "test")}
    assert {split: len(batch) for split, batch in batches.items()} == {"train": 180, "validation": 20, "test": 40}
    assert np.bincount(batches["validation"].labels).tolist() == [2] * 10
    found = sorted(
        bytes([label]) + image.astype(np.uint8).tobytes()
        for split in ("train", "validation")
        for image, label in zip(batches[split].inputs, batches[split].labels, strict=True)
    )
    whole = b"".join(archive[name] for name in TRAIN)
    assert found == sorted(whole[start : start + 3073] for start in range(0, len(whole), 3073))


def test_red_comes_first_and_rows_from_the_top() -> None:
    content = bytearray(3073)
    content[0], content[1], content[1 + 1024 + 32], content[1 + 2048 + 1] = 7, 10, 20, 30
    pixels, labels = parse_records(bytes(content))
    assert labels.tolist() == [7]
    assert (pixels[0, 0, 0, 0], pixels[0, 1, 0, 1], pixels[0, 0, 1, 2]) == (10, 20, 30) and pixels.sum() == 60


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_size_takes_the_first(archive: dict[str, bytes], split: Split) -> None:
    whole, few = DATA().load(split), DATA().load(split, 7)
    assert np.array_equal(few.inputs, whole.inputs[:7]) and np.array_equal(few.labels, whole.labels[:7])
    assert whole.inputs.shape[1:] == DATA().spec.input_shape and whole.inputs.dtype == np.float32
    assert whole.inputs.min() >= 0 and whole.inputs.max() <= 1


def test_editing_a_batch_does_not_reach_the_next_load(archive: dict[str, bytes]) -> None:
    DATA(scale="pixels").load("test").inputs[:] = 7
    assert DATA(scale="pixels").load("test").inputs.std() > 10


def test_each_scale_has_a_fingerprint_of_its_own_and_none_needs_the_bytes(shelf: Path, own_cache: Path) -> None:
    assert len({DATA(scale=scale).fingerprint() for scale in ("unit", "imagenet", "symmetric", "pixels")}) == 4
    assert DATA().source() == Source(module.URL, 170_052_171)
    assert not own_cache.exists() and not list(shelf.iterdir())


def test_a_label_out_of_range_is_refused() -> None:
    with pytest.raises(UserError, match=r"a label 10 where 0\.\.9 are"):
        parse_records(bytes([10]) + bytes(3072))


@pytest.mark.parametrize("missing", [TRAIN[2], TEST[0]])
def test_an_archive_without_a_batch_is_refused(shelf: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    content = tar_gz({name: records(0) for name in (*TRAIN, *TEST) if name != missing})
    (shelf / ARCHIVE.name).write_bytes(content)
    pin(content, monkeypatch)
    with pytest.raises(UserError, match=rf"has no `{missing}` of 122,920 bytes"):
        DATA().load("test" if missing == TEST[0] else "train")


def test_an_archive_of_other_bytes_is_never_opened(archive: dict[str, bytes], shelf: Path) -> None:
    content = bytearray((shelf / ARCHIVE.name).read_bytes())
    content[100] ^= 1
    (shelf / ARCHIVE.name).write_bytes(content)
    with pytest.raises(UserError, match=r"cifar10: .*has sha256 .*the \*binary\* version"):
        DATA().load("test")
