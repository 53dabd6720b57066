"""FSDD from a made-up clone: the official split, one second of each recording, and only the pinned samples."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import fsdd as module
from harness.data.frontends import keywords
from harness.data.fsdd import CLONE, DATA, names
from harness.data.sources.audio import fitted
from harness.errors import UserError

SHELF = os.environ.get("ASSAY_DATA", "absent")
at_hand = pytest.mark.skipif(not (Path(SHELF) / module.FLAC.name).is_file(), reason="ASSAY_DATA names no folder with FSDD")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    for cached in (module._splits, module._features):
        cached.cache_clear()
    yield
    for cached in (module._splits, module._features):
        cached.cache_clear()


@pytest.fixture
def clone(shelf: Path, monkeypatch: pytest.MonkeyPatch, write_wav: Callable[..., None]) -> Path:
    """Fourteen recordings of each speaker and digit, of different lengths."""
    monkeypatch.setattr(module, "RECORDINGS", 14)
    monkeypatch.setattr(module, "SPEAKERS", ("ann", "bob"))
    rng = np.random.default_rng(0)
    digest = hashlib.sha256()
    for name in names():
        samples = rng.integers(-3000, 3000, int(rng.integers(900, 9000))).astype(np.int16)
        write_wav(shelf / CLONE / "recordings" / f"{name.digit}_{name.speaker}_{name.take}.wav", samples, 8000)
        digest.update(samples.astype("<i2").tobytes())
    monkeypatch.setattr(module, "SAMPLES_SHA256", digest.hexdigest())
    return shelf / CLONE / "recordings"


def test_the_first_five_recordings_test_and_a_ninth_of_the_rest_validates(clone: Path) -> None:
    counts = {split: np.bincount(DATA().load(split).labels).tolist() for split in ("train", "validation", "test")}
    assert counts == {"train": [16] * 10, "validation": [2] * 10, "test": [10] * 10}
    splits = module._splits()
    assert all(names()[i].take < 5 for i in splits["test"]) and all(names()[i].take >= 5 for i in splits["train"])
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(280))


def test_an_example_is_the_front_end_of_one_second(clone: Path, write_wav: Any) -> None:
    from harness.data.sources.audio import read_wav

    batch, first = DATA().load("test", 3), module._splits()["test"][:3]
    assert batch.inputs.shape == (3, 1, 49, 10)
    for place, index in enumerate(first):
        name = names()[index]
        samples = read_wav(clone / f"{name.digit}_{name.speaker}_{name.take}.wav", 8000, 10**6)
        expected = keywords.mfcc(fitted(samples, 8000)[None], 8000)[0]
        assert np.array_equal(batch.inputs[place], expected) and batch.labels[place] == name.digit


def test_other_samples_are_refused(clone: Path, write_wav: Callable[..., None]) -> None:
    write_wav(clone / "3_bob_1.wav", np.zeros(1000, np.int16), 8000)
    with pytest.raises(UserError, match=r"fsdd: the samples in .* have sha256"):
        DATA().load("test")


def test_a_missing_recording_is_named(clone: Path) -> None:
    (clone / "3_bob_1.wav").unlink()
    with pytest.raises(UserError, match=r"3_bob_1\.wav"):
        DATA().load("test")


def test_without_it_the_user_is_told_what_to_clone(shelf: Path) -> None:
    with pytest.raises(UserError, match=r"no `free-spoken-digit-dataset` in .*git clone https://github.com/Jakobovski"):
        DATA().fingerprint()


@at_hand
def test_the_real_recordings_are_the_pinned_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_DATA", SHELF)
    counts = {split: np.bincount(DATA().load(split).labels).tolist() for split in ("train", "validation", "test")}
    assert counts == {"train": [240] * 10, "validation": [30] * 10, "test": [30] * 10}
