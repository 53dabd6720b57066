"""Numenta Anomaly Benchmark (Lavin & Ahmad 2015, arXiv:1510.03336, MIT): 58 series of measurements with labelled anomalies, cut into windows.

A network learns to reproduce windows of the first 15 % of every series (the benchmark's probationary part, without its anomalies) and is judged by
how much worse it reproduces windows that touch an anomaly (label 1). Each series is shifted and scaled by the mean and deviation of its own
probationary part and cut off at 8 deviations. This is not the benchmark's own score, which rewards early detection.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from harness.data import Batch, DataSpec, Source, Split, digest, hashed_order
from harness.data.sources.archives import zip_members
from harness.data.sources.files import missing, places
from harness.errors import UserError

SERIES = 58
LABELS = "labels/combined_windows.json"
CLONE, ZIP = "NAB", "nab_v1.zip"
HOW = "`git clone https://github.com/numenta/NAB` in $ASSAY_DATA (version 1.1)"
CONTENT_SHA256 = "3e88e20c07884fe585e76ff829b290dea0f461413d7b2e6eb6d12ad97ff742b9"
"""Over the labels and then all series in the order of their names."""
MAX_FILE_BYTES = 1 << 20
WINDOW = 64
PROBATION = 0.15
STRIDES: Mapping[Split, int] = {"train": 4, "validation": 32, "test": 32}
VALIDATION_SERIES = 14
"""The first so many series in hashed order: their later part validates, that of the others tests."""
LIMIT = 8.0
SALT = "assay nab 1"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Nab:
    @property
    def spec(self) -> DataSpec:
        return DataSpec((WINDOW,), 2, "NAB, windows of 64")

    def source(self) -> Source:
        return Source(str(_place()))

    def fingerprint(self) -> str:
        self.source()
        return digest(CONTENT_SHA256, SALT, WINDOW, PROBATION, STRIDES, VALIDATION_SERIES, LIMIT)

    def load(self, split: Split, size: int | None = None) -> Batch:
        inputs, labels = _windows(_place())[split]
        return Batch(inputs[:size].copy(), labels[:size].copy())


@dataclass(frozen=True, slots=True)
class Series:
    """A series, and which of its points lie in a labelled anomaly."""

    name: str
    values: npt.NDArray[np.float64]
    """[points]."""
    is_anomaly: npt.NDArray[np.bool_]
    """[points]."""


def parse_series(name: str, content: bytes, anomalies: list[list[str]]) -> Series:
    """A table `timestamp,value`; anomalies are pairs of timestamps, both ends included."""
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("ascii"))))
        times = [datetime.fromisoformat(row["timestamp"]) for row in rows]
        values = np.array([float(row["value"]) for row in rows])
        spans = [(datetime.fromisoformat(first), datetime.fromisoformat(last)) for first, last in anomalies]
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"nab: {name} is no table of timestamps and values ({error!r}); get it again: {HOW}") from error
    return Series(name, values, np.array([any(first <= time <= last for first, last in spans) for time in times], bool))


def windows(series: Series, part: Split) -> tuple[Floats, npt.NDArray[np.int64]]:
    """[n, WINDOW] windows and their labels: of the probationary part for `train`, of the rest for the others."""
    probation = int(PROBATION * len(series.values))
    known = series.values[:probation][~series.is_anomaly[:probation]]
    deviation = known.std()
    scaled = np.clip((series.values - known.mean()) / (deviation if deviation > 0 else 1.0), -LIMIT, LIMIT)
    points = slice(0, probation) if part == "train" else slice(probation, None)
    values = sliding_window_view(scaled[points], WINDOW)[:: STRIDES[part]]
    labels = np.asarray(sliding_window_view(series.is_anomaly[points], WINDOW)[:: STRIDES[part]].max(axis=1), np.int64)
    if part == "train":
        values, labels = values[labels == 0], labels[labels == 0]
    return values.astype(np.float32), labels


@functools.cache
def _windows(place: Path) -> dict[Split, tuple[Floats, npt.NDArray[np.int64]]]:
    every = _series(place)
    chosen = {every[i].name for i in hashed_order(len(every), f"{SALT} series")[:VALIDATION_SERIES]}
    found: dict[Split, tuple[Floats, npt.NDArray[np.int64]]] = {}
    for split in ("train", "validation", "test"):
        members = [s for s in every if split == "train" or (s.name in chosen) == (split == "validation")]
        inputs, labels = (np.concatenate(parts) for parts in zip(*(windows(s, split) for s in members), strict=True))
        order = hashed_order(len(labels), f"{SALT} {split}")
        found[split] = (inputs[order], labels[order])
    return found


def _series(place: Path) -> list[Series]:
    """All series, if their bytes are the pinned ones."""
    content = {LABELS: _read(place, [LABELS])[LABELS]}
    names = _names(content[LABELS])
    content |= _read(place, [f"data/{name}" for name in names])
    found = hashlib.sha256(b"".join(content.values())).hexdigest()
    if found != CONTENT_SHA256:
        raise UserError(
            f"nab: the series and labels in {place} have sha256 {found}, expected {CONTENT_SHA256}; get them again: {HOW}"
        )
    anomalies = json.loads(content[LABELS])
    return [parse_series(name, content[f"data/{name}"], anomalies[name]) for name in names]


def _names(labels: bytes) -> list[str]:
    try:
        names = sorted(json.loads(labels))
    except (ValueError, TypeError) as error:
        raise UserError(f"nab: {LABELS} is not the benchmark's ({error}); get it again: {HOW}") from error
    if len(names) != SERIES or any(".." in name or name.startswith("/") for name in names):
        raise UserError(f"nab: {LABELS} does not name the benchmark's {SERIES} series; get it again: {HOW}")
    return names


def _read(place: Path, names: list[str]) -> dict[str, bytes]:
    if place.suffix == ".zip":
        return zip_members(place, dict.fromkeys(names, MAX_FILE_BYTES))
    try:
        return {name: (place / name).read_bytes() for name in names}
    except OSError as error:
        raise UserError(f"nab: {error.filename} cannot be read ({error.strerror}); get it again: {HOW}") from error


def _place() -> Path:
    for folder in places("nab"):
        if (folder / CLONE / LABELS).is_file():
            return folder / CLONE
        if (folder / ZIP).is_file():
            return folder / ZIP
    raise missing("nab", CLONE, HOW)


DATA = Nab
