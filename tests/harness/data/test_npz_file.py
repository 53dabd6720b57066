from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import plugins
from harness.data import npz_file as module
from harness.data.npz_file import DATA, read_arrays, split_pairs
from harness.errors import UserError


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    for cached in (module._arrays, module._sha256):
        cached.cache_clear()
    yield


def save(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def whole(n: int = 60, dtype: str = "float32") -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"x": rng.integers(0, 200, (n, 2, 5, 4)).astype(dtype), "y": np.arange(n) % 3}


def test_one_pair_of_arrays_is_split_by_class_and_hash(tmp_path: Path) -> None:
    given = whole()
    data = DATA(path=save(tmp_path / "mine.npz", **given))
    assert (data.spec.input_shape, data.spec.classes, data.spec.title, data.spec.dtype) == ((2, 5, 4), 3, "mine", "float32")
    batches = {split: data.load(split) for split in ("train", "validation", "test")}
    assert {split: np.bincount(b.labels).tolist() for split, b in batches.items()} == {
        "train": [14] * 3,
        "validation": [2] * 3,
        "test": [4] * 3,
    }
    known = {x.tobytes(): y for x, y in zip(given["x"], given["y"], strict=True)}
    seen = [known[x.tobytes()] == y for b in batches.values() for x, y in zip(b.inputs, b.labels, strict=True)]
    assert len(seen) == 60 and all(seen)
    assert np.array_equal(data.load("test", 5).inputs, batches["test"].inputs[:5])


def test_given_splits_are_kept_and_validation_comes_off_training(tmp_path: Path) -> None:
    a, b = whole(40), whole(9)
    data = DATA(path=save(tmp_path / "m.npz", x_train=a["x"], y_train=a["y"], x_test=b["x"], y_test=b["y"]))
    assert np.array_equal(data.load("test").inputs, b["x"])
    assert (len(data.load("train")), len(data.load("validation"))) == (37, 3)
    three = DATA(path=save(tmp_path / "n.npz", **{f"{k}_{s}": v for s in ("train", "test", "validation") for k, v in a.items()}))
    assert np.array_equal(three.load("train").inputs, a["x"]) and np.array_equal(three.load("validation").labels, a["y"])


def test_bytes_become_shares_and_doubles_singles(tmp_path: Path) -> None:
    given = whole(dtype="uint8")
    found = DATA(path=save(tmp_path / "b.npz", **given)).load("train").inputs
    assert found.dtype == np.float32 and 0.5 < found.max() <= 199 / 255
    assert DATA(path=save(tmp_path / "d.npz", **whole(dtype="float64"))).load("train").inputs.dtype == np.float32


def test_whole_numbers_are_tokens(tmp_path: Path) -> None:
    data = DATA(path=save(tmp_path / "t.npz", x=np.arange(60).reshape(20, 3), y=np.arange(20) % 2))
    assert (data.spec.dtype, data.spec.vocabulary, data.spec.input_shape) == ("int64", 60, (3,))
    assert data.load("train").inputs.dtype == np.int64


def test_a_suite_names_it_by_its_path(tmp_path: Path) -> None:
    path = save(tmp_path / "mine.npz", **whole())
    assert plugins.named("data", f"npz_file(path={path})") == DATA(path=path)


def test_fingerprint_is_of_the_bytes(tmp_path: Path) -> None:
    first = DATA(path=save(tmp_path / "a.npz", **whole())).fingerprint()
    assert first != DATA(path=save(tmp_path / "b.npz", **whole(dtype="uint8"))).fingerprint()


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({}, "give x and y, or x_train"),
        ({"x": np.zeros((9, 2), np.float32)}, "no `y` beside `x`"),
        ({"x": np.zeros((9, 2), np.float32), "y": np.zeros(9, int), "x_train": np.zeros((9, 2), np.float32)}, "give x and y, or"),
        ({"x_train": np.zeros((9, 2), np.float32), "y_train": np.zeros(9, int)}, "give x and y, or"),
        ({"x": np.zeros((9, 2), np.float32), "labels": np.zeros(9, int)}, "array `labels` is not one of"),
        ({"x": np.zeros(9, np.float32), "y": np.zeros(9, int)}, r"x is float32\[9\]"),
        ({"x": np.zeros((9, 2), np.complex64), "y": np.zeros(9, int)}, "x is complex64"),
        ({"x": np.zeros((9, 2), np.float32), "y": np.zeros(8, int)}, r"y is int64\[8\]; give whole numbers \[9\]"),
        ({"x": np.zeros((9, 2), np.float32), "y": np.zeros(9)}, "y is float64"),
        ({"x": np.full((9, 2), np.nan, np.float32), "y": np.zeros(9, int)}, "not finite"),
        ({"x": np.zeros((9, 2), np.float32), "y": np.full(9, -1)}, "is negative"),
        ({"x": np.full((9, 2), -1), "y": np.zeros(9, int)}, "is negative"),
        ({"x": np.zeros((2, 2), np.float32), "y": np.zeros(2, int)}, "no example is left for `test`|`validation`"),
    ],
)
def test_a_mistake_is_told_with_what_would_do(arrays: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=f"mine: .*{says}"):
        split_pairs(arrays, "mine")


def test_splits_of_different_shapes_are_refused() -> None:
    pair = {"x_train": np.zeros((30, 2), np.float32), "y_train": np.zeros(30, int)}
    with pytest.raises(UserError, match="the splits differ in shape or type"):
        split_pairs(pair | {"x_test": np.zeros((9, 3), np.float32), "y_test": np.zeros(9, int)}, "mine")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = save(tmp_path / "p.npz", x=np.array([print], dtype=object))
    with pytest.raises(UserError, match=r"not an \.npz file of plain arrays"):
        DATA(path=path).load("train")


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 and then nothing"])
def test_what_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"not an \.npz file of plain arrays"):
        read_arrays(tmp_path / "x.npz")


def test_a_bomb_is_refused_by_what_it_says_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((1000, 1000), np.float32))
    monkeypatch.setattr(module, "MAX_BYTES", 1_000_000)
    with pytest.raises(UserError, match="unpacks to 4,000,128 bytes; at most 1,000,000"):
        read_arrays(tmp_path / "x.npz")


def test_a_header_that_promises_more_than_follows_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 4), np.float32))
    content = (tmp_path / "x.npy").read_bytes().replace(b"(4, 4), }    ", b"(4, 4000), } ")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", content)
    assert b"4000" in content
    with pytest.raises(UserError, match=r"not an \.npz file of plain arrays"):
        read_arrays(tmp_path / "x.npz")


@pytest.mark.parametrize(("path", "says"), [("", "which file"), ("absent.npz", "no such file")])
def test_a_missing_file_is_told(path: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        DATA(path=path).fingerprint()
