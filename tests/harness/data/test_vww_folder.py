from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import vww_folder as module
from harness.data.vww_folder import DATA
from harness.errors import UserError


@pytest.fixture
def folder(shelf: Path) -> Iterator[Path]:
    """Twenty pictures of each class; those with a person are light."""
    root = shelf / "vw_coco2014_96"
    for label, name in enumerate(("non_person", "person")):
        (root / name).mkdir(parents=True)
        for number in range(20):
            Image.fromarray(np.full((96, 96, 3), 200 * label + number, np.uint8)).save(
                root / name / f"{number:03}.jpg", quality=95
            )
    caches = (module._listed, module._splits, module._listing_sha256)
    for cached in caches:
        cached.cache_clear()
    yield root
    for cached in caches:
        cached.cache_clear()


def test_splits_hold_each_picture_once_with_its_label(folder: Path) -> None:
    batches = {split: DATA(scale="pixels").load(split) for split in ("train", "validation", "test")}
    counts = {split: np.bincount(batch.labels).tolist() for split, batch in batches.items()}
    assert counts == {"train": [16, 16], "validation": [2, 2], "test": [2, 2]}
    levels = np.concatenate([batch.inputs.mean(axis=(1, 2, 3)) for batch in batches.values()])
    labels = np.concatenate([batch.labels for batch in batches.values()])
    assert ((levels > 150) == labels).all() and len(set(levels.round().tolist())) >= 39
    assert np.array_equal(DATA().load("train", 3).inputs, DATA(train_images=5).load("train").inputs[:3])
    assert len(DATA(train_images=5).load("train")) == 5


def test_fingerprint_sees_names_and_sizes(folder: Path) -> None:
    first = DATA().fingerprint()
    assert first != DATA(scale="symmetric").fingerprint()
    (folder / "person" / "000.jpg").unlink()
    for cached in (module._listed, module._listing_sha256):
        cached.cache_clear()
    assert DATA().fingerprint() != first


def test_another_layout_is_refused(folder: Path, shelf: Path) -> None:
    (folder / "cats").mkdir()
    with pytest.raises(UserError, match="does not hold the folders non_person and person alone"):
        DATA().fingerprint()
    folder.rename(shelf / "elsewhere")
    with pytest.raises(UserError, match=r"no `vw_coco2014_96` in .*silabs"):
        DATA().source()


def test_a_picture_of_another_size_is_named(folder: Path) -> None:
    Image.fromarray(np.zeros((50, 96, 3), np.uint8)).save(folder / "person" / "000.jpg")
    with pytest.raises(UserError, match=r"person/000\.jpg: 96 x 50 pixels, not 96 x 96"):
        for split in ("train", "validation", "test"):
            DATA().load(split)
