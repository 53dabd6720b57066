"""NAB from made-up series: windows, labels and scaling against loops, and only the pinned bytes."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from harness.data import nab as module
from harness.data.nab import DATA, LABELS, WINDOW, Series, parse_series, windows
from harness.errors import UserError

SHELF = os.environ.get("ASSAY_DATA", "absent")
at_hand = pytest.mark.skipif(not (Path(SHELF) / module.ZIP).is_file(), reason="ASSAY_DATA names no folder with NAB")
START = datetime(2014, 4, 1)


def table(values: list[float]) -> bytes:
    rows = (f"{START + timedelta(minutes=5 * i)},{value}" for i, value in enumerate(values))
    return "\n".join(["timestamp,value", *rows]).encode()


def at(point: int) -> str:
    return f"{START + timedelta(minutes=5 * point)}.000000"


@pytest.fixture
def made_up(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """Six series of 1,000 points, each with an anomaly at 700 ... 720."""
    rng = np.random.default_rng(0)
    names = [f"kind/{letter}.csv" for letter in "abcdef"]
    content = {LABELS: json.dumps({name: [[at(700), at(720)]] for name in names}).encode()}
    content |= {f"data/{name}": table(rng.normal(size=1000).round(3).tolist()) for name in names}
    monkeypatch.setattr(module, "SERIES", 6)
    monkeypatch.setattr(module, "VALIDATION_SERIES", 2)
    monkeypatch.setattr(module, "CONTENT_SHA256", hashlib.sha256(b"".join(content.values())).hexdigest())
    module._windows.cache_clear()
    yield content
    module._windows.cache_clear()


def as_folder(shelf: Path, content: dict[str, bytes]) -> None:
    for name, member in content.items():
        (shelf / "NAB" / name).parent.mkdir(parents=True, exist_ok=True)
        (shelf / "NAB" / name).write_bytes(member)


def as_zip(shelf: Path, content: dict[str, bytes]) -> None:
    with zipfile.ZipFile(shelf / "nab_v1.zip", "w") as archive:
        for name, member in content.items():
            archive.writestr(name, member)


def test_a_series_marks_the_points_of_its_anomalies_both_ends_included() -> None:
    series = parse_series("s", table([1.0, 2.5, 3.0, 4.0, 5.0]), [[at(1), at(2)], [at(4), at(9)]])
    assert series.values.tolist() == [1.0, 2.5, 3.0, 4.0, 5.0]
    assert series.is_anomaly.tolist() == [False, True, True, False, True]


@pytest.mark.parametrize(
    "content", [b"timestamp,value\nyesterday,1", b"timestamp,value\n2014-01-01,high", b"a,b\n1,2", b"\xff\xfe"]
)
def test_what_is_no_table_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match=r"nab: s\.csv is no table"):
        parse_series("s.csv", content, [])


def test_windows_are_scaled_by_the_probationary_part_and_labelled_by_what_they_touch() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(50, 3, 1000)
    values[900] = 1e6
    flags = np.zeros(1000, bool)
    flags[[100, 500, 501]] = True
    series = Series("s", values, flags)
    known = [values[i] for i in range(150) if not flags[i]]
    mean, deviation = float(np.mean(known)), float(np.std(known))
    inputs, labels = windows(series, "test")
    assert inputs.dtype == np.float32 and inputs.shape[1:] == DATA().spec.input_shape
    for number, start in enumerate(range(150, 1000 - WINDOW + 1, 32)):
        expected = [min(max((values[start + i] - mean) / deviation, -8), 8) for i in range(WINDOW)]
        assert inputs[number] == pytest.approx(expected, abs=1e-5)
        assert labels[number] == any(flags[start : start + WINDOW])
    trained, none = windows(series, "train")
    assert (
        len(trained) == sum(not any(flags[start : start + WINDOW]) for start in range(0, 150 - WINDOW + 1, 4)) and not none.any()
    )


def test_a_flat_series_is_finite() -> None:
    inputs, _ = windows(Series("flat", np.full(500, 7.0), np.zeros(500, bool)), "test")
    assert (inputs == 0).all()


@pytest.mark.parametrize("lay", [as_folder, as_zip])
def test_splits_train_on_normal_windows_and_judge_on_series_apart(shelf: Path, made_up: dict[str, bytes], lay: object) -> None:
    assert callable(lay)
    lay(shelf, made_up)
    batches = {split: DATA().load(split) for split in ("train", "validation", "test")}
    later = len(range(150, 1000 - WINDOW + 1, 32))
    assert {split: len(batch) for split, batch in batches.items()} == {
        "train": 6 * 22,
        "validation": 2 * later,
        "test": 4 * later,
    }
    assert not batches["train"].labels.any()
    assert batches["validation"].labels.sum() * 2 == batches["test"].labels.sum() > 0
    assert np.array_equal(DATA().load("test", 5).inputs, batches["test"].inputs[:5])


def test_other_bytes_are_refused(shelf: Path, made_up: dict[str, bytes]) -> None:
    as_folder(shelf, made_up | {"data/kind/a.csv": made_up["data/kind/b.csv"]})
    with pytest.raises(UserError, match="have sha256"):
        DATA().load("test")


@pytest.mark.parametrize("labels", [b"{}", b"[", b"3", json.dumps({f"../{i}": [] for i in range(6)}).encode()])
def test_labels_that_are_not_the_benchmarks_are_refused(shelf: Path, made_up: dict[str, bytes], labels: bytes) -> None:
    as_folder(shelf, made_up | {LABELS: labels})
    with pytest.raises(UserError, match=r"labels/combined_windows\.json"):
        DATA().load("test")


def test_a_missing_series_or_benchmark_is_named(shelf: Path, made_up: dict[str, bytes]) -> None:
    with pytest.raises(UserError, match=r"no `NAB` in .*git clone https://github.com/numenta/NAB"):
        DATA().fingerprint()
    as_folder(shelf, made_up)
    (shelf / "NAB" / "data" / "kind" / "c.csv").unlink()
    with pytest.raises(UserError, match=r"c\.csv cannot be read"):
        DATA().load("test")


@at_hand
def test_the_real_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_DATA", SHELF)
    sizes = {split: (len(batch := DATA().load(split)), int(batch.labels.sum())) for split in ("train", "validation", "test")}
    assert sizes == {"train": (11728, 0), "validation": (2997, 348), "test": (6639, 775)}
