from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.data import kws_mlperf_tiny as module
from harness.data.kws_mlperf_tiny import DATA, FILE
from harness.errors import UserError


@pytest.fixture
def quantized(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    features = rng.integers(-128, 128, (72, 49, 10)).astype(np.int8)
    file = io.BytesIO()
    np.savez(file, mfcc_int8=features, label=np.arange(72) % 12, mfcc_scale=np.float32(0.5), mfcc_zero_point=np.int32(83))
    (shelf / FILE.name).write_bytes(file.getvalue())
    digest = hashlib.sha256(file.getvalue()).hexdigest()
    monkeypatch.setattr(module, "FILE", dataclasses.replace(FILE, size_bytes=len(file.getvalue()), sha256=digest))
    module._features.cache_clear()
    yield features
    module._features.cache_clear()


def test_features_are_what_the_integers_stand_for(quantized: np.ndarray) -> None:
    batch = DATA().load("test")
    assert batch.inputs.shape == (48, 1, 49, 10) and batch.inputs.dtype == np.float32
    known = {clip.tobytes(): number % 12 for number, clip in enumerate(quantized)}
    for clip, label in zip(batch.inputs[:, 0], batch.labels, strict=True):
        assert known[(clip / 0.5 + 83).astype(np.int8).tobytes()] == label


def test_two_thirds_test_a_sixth_validates_a_sixth_calibrates(quantized: np.ndarray) -> None:
    counts = {split: np.bincount(DATA().load(split).labels).tolist() for split in ("train", "validation", "test")}
    assert counts == {"train": [1] * 12, "validation": [1] * 12, "test": [4] * 12}


def test_without_the_file_the_user_is_told_of_speech_commands(shelf: Path) -> None:
    with pytest.raises(UserError, match="use data set `speech_commands`"):
        DATA().fingerprint()
