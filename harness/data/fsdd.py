"""Free Spoken Digit Dataset (CC BY-SA 4.0): 3,000 spoken digits of six speakers at 8 kHz, as MFCC of one second.

Read from a clone of github.com/Jakobovski/free-spoken-digit-dataset, or from one FLAC of all recordings and its table. Both hold the same samples,
and their sha256 is pinned. Official split: recordings 0 to 4 of each speaker and digit test, the others train.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.data import Batch, DataSpec, Source, Split, digest, stratified_split
from harness.data.frontends import keywords, mel
from harness.data.sources import audio
from harness.data.sources.audio import Samples16, fitted, read_flac, read_wav
from harness.data.sources.files import Pinned, missing, places
from harness.errors import UserError

RATE_HZ = 8000
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
RECORDINGS = 50
"""Of each speaker and digit."""
OFFICIAL_TEST = 5
"""The first so many of each."""
SALT = "assay fsdd 1"
VALIDATION = Fraction(1, 9)
CLONE = "free-spoken-digit-dataset"
HOW = f"`git clone https://github.com/Jakobovski/{CLONE}` in $ASSAY_DATA"
SAMPLES_SHA256 = "801bcecb25fa3bfb54fb3c0b1d94732d8456ce5b0c1f036667852a341a3aacd4"
"""Over the samples of all recordings, as 16-bit little-endian, in the order of `names()`."""
FLAC = Pinned("fsdd", "fsdd_3000.flac", 11_329_427, "32e6d717317c1bbc1458239427dfff382b2b716af09b1c4bd3f84fbe0c5bbc7a", HOW)
TABLE = Pinned("fsdd", "fsdd_3000.csv", 92_532, "15f8534bee7605917616f8cc2affd5f22ba76cd54c37492eea5888caaeac144f", HOW)


class Name(NamedTuple):
    digit: int
    speaker: str
    take: int


@dataclass(frozen=True, slots=True)
class Fsdd:
    """2,400 to train, 300 for validation, the official 300 to test."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec((1, keywords.FRAMES, keywords.COEFFICIENTS), 10, "Free Spoken Digit Dataset")

    def source(self) -> Source:
        return Source(str(_clone() or FLAC.source().where))

    def fingerprint(self) -> str:
        self.source()
        return digest(SAMPLES_SHA256, SALT, VALIDATION, OFFICIAL_TEST, modules=(keywords, mel, audio))

    def load(self, split: Split, size: int | None = None) -> Batch:
        indices = _splits()[split][:size]
        labels = np.array([name.digit for name in names()], np.int64)
        return Batch(_features()[indices], labels[indices])


def names() -> list[Name]:
    return [Name(digit, speaker, take) for digit in range(10) for speaker in SPEAKERS for take in range(RECORDINGS)]


@functools.cache
def _splits() -> dict[Split, npt.NDArray[np.int64]]:
    is_test = np.array([name.take < OFFICIAL_TEST for name in names()])
    digits = np.array([name.digit for name in names()], np.int64)
    test, rest = np.flatnonzero(is_test), np.flatnonzero(~is_test)
    train = stratified_split(digits[rest], {"validation": VALIDATION}, SALT)
    order = stratified_split(digits[test], {}, f"{SALT} test")["train"]
    return {"train": rest[train["train"]], "validation": rest[train["validation"]], "test": test[order]}


@functools.cache
def _features() -> npt.NDArray[np.float32]:
    folder = _clone()
    recordings = _of_flac() if folder is None else _of_folder(folder)
    check_samples(recordings, str(folder or FLAC.name))
    return keywords.mfcc(np.stack([fitted(samples, RATE_HZ) for samples in recordings]), RATE_HZ)


def check_samples(recordings: list[Samples16], origin: str) -> None:
    found = hashlib.sha256(b"".join(samples.astype("<i2").tobytes() for samples in recordings)).hexdigest()
    if found != SAMPLES_SHA256:
        raise UserError(f"fsdd: the samples in {origin} have sha256 {found}, expected {SAMPLES_SHA256}; get it again: {HOW}")


def _of_folder(folder: Path) -> list[Samples16]:
    return [read_wav(folder / f"{n.digit}_{n.speaker}_{n.take}.wav", RATE_HZ, 10 * RATE_HZ) for n in names()]


def _of_flac() -> list[Samples16]:
    samples = read_flac(FLAC.read(), FLAC.name, RATE_HZ)
    table = csv.DictReader(io.StringIO(TABLE.read().decode("ascii")))
    found = {
        Name(int(row["digit"]), row["speaker"], int(row["index"])): (int(row["start_sample"]), int(row["num_samples"]))
        for row in table
    }
    return [samples[start : start + count] for start, count in (found[name] for name in names())]


def _clone() -> Path | None:
    """The clone's folder of recordings; None where the FLAC is; UserError where neither is."""
    for place in places("fsdd"):
        if (place / CLONE / "recordings").is_dir():
            return place / CLONE / "recordings"
    if FLAC.find() is None or TABLE.find() is None:
        raise missing("fsdd", CLONE, HOW)
    return None


DATA = Fsdd
