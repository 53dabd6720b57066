from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import toyadmos_folder as module
from harness.data.frontends import machine_sounds
from harness.data.sources.audio import read_wav
from harness.data.toyadmos_folder import DATA
from harness.errors import UserError


@pytest.fixture
def folder(shelf: Path, write_wav: Callable[..., None]) -> Iterator[Path]:
    """Three clips to train on, five of each kind to judge by, each long enough for three windows."""
    root = shelf / "toyadmos" / "ToyCar"
    rng = np.random.default_rng(0)
    for part, kinds, count in (("train", ("normal",), 3), ("test", ("normal", "anomaly"), 5)):
        for kind in kinds:
            for number in range(count):
                samples = rng.normal(0, 2000, 512 * 56).astype(np.int16)
                write_wav(root / part / f"{kind}_id_0{1 + number % 2}_{number:08}.wav", samples, 16000)
    for cached in (module._split, module._listing_sha256):
        cached.cache_clear()
    yield root
    for cached in (module._split, module._listing_sha256):
        cached.cache_clear()


def test_windows_of_a_clip_are_one_group_with_its_label(folder: Path) -> None:
    counts = {}
    for split in ("train", "validation", "test"):
        batch = DATA().load(split)
        assert batch.groups is not None and batch.inputs.shape[1:] == DATA().spec.input_shape
        _, sizes = np.unique(batch.groups, return_counts=True)
        assert set(sizes.tolist()) == {3}
        labels = [set(batch.labels[batch.groups == group].tolist()) for group in range(len(sizes))]
        assert all(len(found) == 1 for found in labels)
        counts[split] = np.bincount([found.pop() for found in labels], minlength=2).tolist()
    assert counts == {"train": [3, 0], "validation": [1, 1], "test": [4, 4]}


def test_windows_are_the_front_end_of_their_clip(folder: Path) -> None:
    batch = DATA().load("test")
    paths, labels = module._split(folder.parent, "test")
    for number, path in enumerate(paths):
        expected = machine_sounds.windows(read_wav(path, 16000, 10**6), 16000)
        assert batch.groups is not None and np.array_equal(batch.inputs[batch.groups == number], expected)
        assert labels[number] == path.name.startswith("anomaly")


def test_a_size_reads_no_more_clips_than_it_must(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(path: Path, rate_hz: int, most: int) -> Any:
        read.append(path)
        return read_wav(path, rate_hz, most)

    monkeypatch.setattr(module, "read_wav", counted)
    few = DATA().load("test", 4)
    assert len(few) == 4 and len(read) == 2
    assert np.array_equal(few.inputs, DATA().load("test").inputs[:4])
    assert len(DATA(train_clips=2).load("train")) == len(DATA(judged_clips=2).load("test")) == 6


def test_a_strange_file_an_anomaly_to_train_on_and_an_empty_folder_are_refused(
    folder: Path, write_wav: Callable[..., None]
) -> None:
    write_wav(folder / "test" / "notes.wav", np.zeros(9, np.int16), 16000)
    with pytest.raises(UserError, match=r"holds `notes\.wav`"):
        DATA().load("test")
    write_wav(folder / "train" / "anomaly_id_01_00000009.wav", np.zeros(9, np.int16), 16000)
    with pytest.raises(UserError, match="which nothing may be trained on"):
        DATA().load("train")
    for path in (folder / "train").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="holds no WAV file"):
        DATA().load("train")


def test_fingerprint_sees_sizes(folder: Path, write_wav: Callable[..., None], shelf: Path) -> None:
    first = DATA().fingerprint()
    write_wav(folder / "train" / "normal_id_01_00000000.wav", np.zeros(9, np.int16), 16000)
    module._listing_sha256.cache_clear()
    assert DATA().fingerprint() != first
    with pytest.raises(UserError, match="`absent` is no folder; get dev_data_ToyCar"):
        DATA(path="absent").fingerprint()
