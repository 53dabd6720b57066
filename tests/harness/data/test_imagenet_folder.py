from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import imagenet_folder as module
from harness.data.imagenet_folder import DATA
from harness.errors import UserError

SMALL = DATA(classes=3, size=16, resize=20, scale="pixels")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    for cached in (module._split, module._listing_sha256):
        cached.cache_clear()
    yield
    for cached in (module._split, module._listing_sha256):
        cached.cache_clear()


@pytest.fixture
def folder(shelf: Path) -> Path:
    """Three synsets of 14 training and 4 validation pictures; the red of a picture is its synset's, the green its own."""
    for part, count in (("train", 14), ("val", 4)):
        for label, synset in enumerate(("n01", "n02", "n03")):
            for number in range(count):
                path = shelf / "imagenet" / part / synset / f"{synset}_{number}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                colour = np.array([80 * label + 20, 17 * number, 0], np.uint8)
                Image.fromarray(np.full((24, 30, 3), colour)).save(path, "JPEG", quality=95)
    return shelf / "imagenet"


def test_val_tests_and_ten_of_each_class_of_train_validate(folder: Path) -> None:
    batches = {split: SMALL.load(split) for split in ("train", "validation", "test")}
    counts = {split: np.bincount(batch.labels).tolist() for split, batch in batches.items()}
    assert counts == {"train": [4] * 3, "validation": [10] * 3, "test": [4] * 3}
    for batch in batches.values():
        assert batch.inputs.shape[1:] == (3, 16, 16)
        assert np.abs(batch.inputs[:, 0].mean(axis=(1, 2)) - (80 * batch.labels + 20)).max() < 4
    greens = {
        split: {round(float(g) / 17) for g in batch.inputs[batch.labels == 1, 1].mean(axis=(1, 2))}
        for split, batch in batches.items()
    }
    assert greens["train"] | greens["validation"] == set(range(14)) and not greens["train"] & greens["validation"]


def test_no_more_is_read_than_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    original = Path.read_bytes

    def counted(path: Path) -> bytes:
        read.append(path)
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    assert np.array_equal(SMALL.load("test", 2).labels, SMALL.load("test").labels[:2])
    assert len(read) == 2 + 12
    assert len(DATA(classes=3, size=16, resize=20, train_images=5).load("train")) == 5


def test_fingerprint_sees_names_and_sizes(folder: Path) -> None:
    first = SMALL.fingerprint()
    (folder / "val" / "n02" / "n02_0.JPEG").write_bytes(b"other")
    module._listing_sha256.cache_clear()
    assert SMALL.fingerprint() != first
    assert DATA(classes=3).fingerprint() != SMALL.fingerprint()


def test_another_number_of_classes_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="3 folders in `train` and 3 in `val`, not the same 1000 in both"):
        DATA().fingerprint()
    (folder / "val" / "n01").rename(folder / "val" / "n09")
    with pytest.raises(UserError, match="not the same 3 in both"):
        SMALL.load("test", 1)


def test_a_picture_that_cannot_be_decoded_is_named(folder: Path) -> None:
    (folder / "val" / "n02" / "n02_0.JPEG").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"val/n02/n02_0\.JPEG: not an image"):
        SMALL.load("test")


def test_without_it_the_user_is_told_where_it_is_had(shelf: Path) -> None:
    with pytest.raises(UserError, match=r"no `imagenet` in .*image-net\.org"):
        DATA().source()
    assert DATA().spec.title == "ImageNet" and SMALL.spec.title == "ImageNet, 3 classes"
