"""Speech Commands v2 (Warden 2018, arXiv:1804.03209) as MLPerf Tiny uses it: ten words, silence and unknown, as MFCC of one second.

The folder is the unpacked archive: a folder of WAV files for each word, `_background_noise_`, `validation_list.txt`, `testing_list.txt`.
What differs from the benchmark: its test clips of silence and unknown words come from an archive of their own; ours are drawn by hash
from this folder, a twelfth of each split both. Fingerprinted by names, sizes and the two lists, not by two gigabytes of samples.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.data import Batch, DataSpec, Source, Split, digest, hashed_order
from harness.data.frontends import keywords, mel
from harness.data.sources import audio
from harness.data.sources.audio import Samples16, fitted, read_wav
from harness.data.sources.files import find_folder
from harness.errors import UserError

WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
SILENCE, UNKNOWN = 10, 11
RATE_HZ = 16_000
SALT = "assay speech_commands 1"
NOISE = "_background_noise_"
NOISE_SHARES: Mapping[Split, tuple[float, float]] = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}
"""Part of each recording of noise that the silent clips of a split are cut from."""
MAX_NOISE_S = 600
HOW = (
    "get http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz (2.3 GB), unpack it into a folder "
    "`speech_commands_v0.02` in $ASSAY_DATA, or name its folder with the parameter `path`"
)


@dataclass(frozen=True, slots=True)
class Clip:
    """One second of a file, from a sample on."""

    file: str
    """Relative to the data set's folder."""
    label: int
    start: int = 0


@dataclass(frozen=True, slots=True)
class SpeechCommands:
    path: str = ""
    """Folder of the unpacked archive; empty: `speech_commands_v0.02` in $ASSAY_DATA."""
    features: Literal["mfcc", "lfbe"] = "mfcc"

    @property
    def spec(self) -> DataSpec:
        return DataSpec((1, keywords.FRAMES, keywords.COEFFICIENTS), 12, "Speech Commands v2, 12 classes")

    def source(self) -> Source:
        return Source(str(self._folder()))

    def fingerprint(self) -> str:
        return digest(_listing_sha256(self._folder()), SALT, NOISE_SHARES, self.features, modules=(keywords, mel, audio))

    def load(self, split: Split, size: int | None = None) -> Batch:
        chosen = clips(self._folder())[split][:size]
        return Batch(_features(self._folder(), chosen, self.features).copy(), np.array([clip.label for clip in chosen], np.int64))

    def _folder(self) -> Path:
        return find_folder("speech_commands", "speech_commands_v0.02", self.path, HOW)


@functools.cache
def clips(folder: Path) -> dict[Split, tuple[Clip, ...]]:
    """The clips of each split in a fixed shuffled order. A split's number of unknown and of silent clips is the mean of its words'."""
    files = _files(folder)
    held_out: dict[Split, set[str]] = {
        "validation": _list(folder / "validation_list.txt"),
        "test": _list(folder / "testing_list.txt"),
    }
    found: dict[Split, tuple[Clip, ...]] = {}
    for split in ("train", "validation", "test"):
        names = [
            name
            for name in files
            if not name.startswith(NOISE)
            and (name in held_out[split] if split != "train" else not any(name in other for other in held_out.values()))
        ]
        words = [Clip(name, WORDS.index(word)) for name in names if (word := name.partition("/")[0]) in WORDS]
        if not words:
            raise UserError(f"speech_commands: {folder} has no clip of {', '.join(WORDS)} for `{split}`; {HOW}")
        others = [name for name in names if name.partition("/")[0] not in WORDS]
        each = math.ceil(len(words) / len(WORDS))
        unknown = [Clip(others[i], UNKNOWN) for i in hashed_order(len(others), f"{SALT} unknown {split}")[:each]]
        every = [*words, *unknown, *_silent(folder, files, split, each)]
        found[split] = tuple(every[i] for i in hashed_order(len(every), f"{SALT} {split}"))
    return found


def _silent(folder: Path, files: Mapping[str, int], split: Split, count: int) -> list[Clip]:
    """Cut at hashed places from the split's part of the recordings of noise."""
    noises = [name for name in files if name.startswith(NOISE)]
    if not noises:
        raise UserError(f"speech_commands: {folder} has no recording in {NOISE}, from which silence is cut; {HOW}")
    found = []
    for number in range(count):
        noise = noises[number % len(noises)]
        samples = len(_noise(folder / noise))
        first, last = (int(share * samples) for share in NOISE_SHARES[split])
        room = last - RATE_HZ - first
        if room < 0:
            raise UserError(f"speech_commands: {folder / noise} is too short to cut a second from a tenth of it; {HOW}")
        drawn = int.from_bytes(hashlib.sha256(f"{SALT} silence {split} {number}".encode()).digest()[:8], "big")
        found.append(Clip(noise, SILENCE, first + drawn % (room + 1)))
    return found


@functools.lru_cache(maxsize=4)
def _features(folder: Path, chosen: tuple[Clip, ...], features: str) -> npt.NDArray[np.float32]:
    """[n, 1, 49, 10]; the last few are kept, since reading and transforming ten thousand clips takes a quarter of a minute."""
    together = 4096
    feature = {"mfcc": keywords.mfcc, "lfbe": keywords.lfbe}[features]
    parts = [
        feature(np.stack([_samples(folder, clip) for clip in chosen[start : start + together]]), RATE_HZ)
        for start in range(0, len(chosen), together)
    ]
    return np.concatenate(parts)


def _samples(folder: Path, clip: Clip) -> Samples16:
    if clip.file.startswith(NOISE):
        return _noise(folder / clip.file)[clip.start : clip.start + RATE_HZ]
    return fitted(read_wav(folder / clip.file, RATE_HZ, RATE_HZ), RATE_HZ)


@functools.cache
def _noise(path: Path) -> Samples16:
    return read_wav(path, RATE_HZ, MAX_NOISE_S * RATE_HZ)


@functools.cache
def _files(folder: Path) -> dict[str, int]:
    """`word/file.wav` and its size, sorted."""
    words = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return {
        f"{word.name}/{file.name}": file.stat().st_size
        for word in words
        for file in sorted(word.iterdir())
        if file.suffix == ".wav" and file.is_file()
    }


@functools.cache
def _listing_sha256(folder: Path) -> str:
    lists = [sorted(_list(folder / name)) for name in ("validation_list.txt", "testing_list.txt")]
    return hashlib.sha256(repr((list(_files(folder).items()), lists)).encode()).hexdigest()


def _list(path: Path) -> set[str]:
    try:
        return set(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"speech_commands: {path} cannot be read ({error}); {HOW}") from error


DATA = SpeechCommands
