"""ToyADMOS's toy car as MLPerf Tiny's anomaly detection uses it: log mel energies of 128 bands in 5 frames, the windows of a clip judged as one.

The folder is the benchmark's: `ToyCar/train` and `ToyCar/test` of 16 kHz WAV files named `normal_id_01_00000000.wav` or `anomaly_id_...`. A fifth of the
test clips, by hash, validates. Written after the benchmark's formulas; not yet run on the real recordings.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from harness.data import Batch, DataSpec, Source, Split, digest, hashed_order, stratified_split
from harness.data.frontends import machine_sounds, mel
from harness.data.sources import audio
from harness.data.sources.audio import read_wav
from harness.data.sources.files import find_folder
from harness.errors import UserError

RATE_HZ = 16_000
MAX_SAMPLES = 60 * RATE_HZ
NAME = re.compile(r"(normal|anomaly)_id_\d+_\d+\.wav")
SHARES: dict[Split, Fraction] = {"validation": Fraction(1, 5)}
SALT = "assay toyadmos_folder 1"
HOW = (
    "get dev_data_ToyCar.zip and eval_data_train_ToyCar.zip of DCASE 2020 task 2 (zenodo.org/record/3678171 and 3727685), unpack them so "
    "that `ToyCar/train` and `ToyCar/test` are in a folder `toyadmos` in $ASSAY_DATA, or name that folder with the parameter `path`"
)


@dataclass(frozen=True, slots=True)
class ToyadmosFolder:
    """Trained on clips of normal running alone; label 1 is an anomaly."""

    path: str = ""
    """Folder that holds `ToyCar`; empty: `toyadmos` in $ASSAY_DATA."""
    train_clips: Annotated[int, Ge(1)] = 2000
    """Of the training clips, so many are used: their windows are held in memory, 0.5 MB a clip."""
    judged_clips: Annotated[int, Ge(2)] = 248
    """Of those that test or validate, so many are used; MLPerf Tiny judges by 248."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec((machine_sounds.BANDS * machine_sounds.FRAMES,), 2, "ToyADMOS, toy car")

    def source(self) -> Source:
        return Source(str(self._folder()))

    def fingerprint(self) -> str:
        return digest(
            _listing_sha256(self._folder()),
            SALT,
            SHARES,
            self.train_clips,
            self.judged_clips,
            modules=(machine_sounds, mel, audio),
        )

    def load(self, split: Split, size: int | None = None) -> Batch:
        """Windows, those of a clip one after the other: a size cuts the last clip short."""
        files, labels = _split(self._folder(), split)
        inputs: list[npt.NDArray[np.float32]] = []
        of_clip: list[int] = []
        for number, file in enumerate(files[: self.train_clips if split == "train" else self.judged_clips]):
            if size is not None and len(of_clip) >= size:
                break
            inputs.append(machine_sounds.windows(read_wav(file, RATE_HZ, MAX_SAMPLES), RATE_HZ))
            of_clip += [number] * len(inputs[-1])
        groups = np.array(of_clip, np.int64)
        return Batch(np.concatenate(inputs), labels[groups], groups).first(size)

    def _folder(self) -> Path:
        return find_folder("toyadmos_folder", "toyadmos", self.path, HOW)


@functools.cache
def _split(folder: Path, split: Split) -> tuple[tuple[Path, ...], npt.NDArray[np.int64]]:
    """Clips and their labels in a fixed shuffled order."""
    part = folder / "ToyCar" / ("train" if split == "train" else "test")
    files = sorted(part.glob("*.wav"))
    strange = [file.name for file in files if NAME.fullmatch(file.name) is None]
    if strange or not files:
        raise UserError(f"toyadmos_folder: {part} holds {f'`{strange[0]}`' if strange else 'no WAV file'}; {HOW}")
    labels = np.array([file.name.startswith("anomaly") for file in files], np.int64)
    if split == "train" and labels.any():
        raise UserError(f"toyadmos_folder: {part} holds recordings of anomalies, which nothing may be trained on; {HOW}")
    order = hashed_order(len(files), SALT) if split == "train" else _of_test(labels)[split]
    return tuple(files[i] for i in order), labels[order]


def _of_test(labels: npt.NDArray[np.int64]) -> dict[Split, npt.NDArray[np.int64]]:
    parts = stratified_split(labels, SHARES, SALT)
    return {"validation": parts["validation"], "test": parts["train"]}


@functools.cache
def _listing_sha256(folder: Path) -> str:
    files = sorted(folder.glob("ToyCar/*/*.wav"))
    return hashlib.sha256(
        repr([(file.relative_to(folder).as_posix(), file.stat().st_size) for file in files]).encode()
    ).hexdigest()


DATA = ToyadmosFolder
