from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest

from harness.data import Split
from harness.data import digits as digits_module
from harness.data.digits import DATA, parse_digits
from harness.errors import UserError

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@pytest.fixture
def forgotten() -> Iterator[None]:
    """The memory of earlier loads is emptied before and after."""
    caches = (digits_module._csv_bytes, digits_module._table, digits_module._splits)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def test_a_size_takes_the_first_examples() -> None:
    few = DATA().load("test", 5)
    assert np.array_equal(few.inputs, DATA().load("test").inputs[:5]) and len(few) == 5


def test_splits_hold_all_1797_examples_once() -> None:
    sizes = {split: len(DATA().load(split)) for split in SPLITS}
    assert sizes == {"train": 1259, "validation": 179, "test": 359}
    images = np.concatenate([DATA().load(split).inputs.reshape(-1, 64) for split in SPLITS])
    from sklearn.datasets import load_digits

    expected = load_digits().data / 16
    assert sorted(map(tuple, images.tolist())) == sorted(map(tuple, expected.tolist()))


def test_labels_stay_with_their_images() -> None:
    from sklearn.datasets import load_digits

    known = {tuple(image): label for image, label in zip((load_digits().data / 16).tolist(), load_digits().target, strict=True)}
    batch = DATA().load("test")
    assert [known[tuple(image)] for image in batch.inputs.reshape(-1, 64).tolist()] == batch.labels.tolist()


@pytest.mark.parametrize("split", SPLITS)
def test_batch_fits_the_spec(split: Split) -> None:
    batch = DATA().load(split)
    assert batch.inputs.shape[1:] == DATA().spec.input_shape
    assert batch.inputs.dtype == np.float32
    assert batch.labels.dtype == np.int64
    assert set(batch.labels) == set(range(DATA().spec.classes))
    assert (batch.inputs.min(), batch.inputs.max()) == (0.0, 1.0)


def test_editing_a_batch_does_not_reach_the_next_load() -> None:
    DATA().load("test").inputs[:] = 7.0
    assert DATA().load("test").inputs.max() == 1.0


def test_fingerprint_changes_with_bytes_and_with_the_split_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    first = DATA().fingerprint()
    monkeypatch.setattr(digits_module, "SALT", "another")
    assert len(first) == 64
    assert DATA().fingerprint() != first
    monkeypatch.undo()
    monkeypatch.setattr(digits_module, "_csv_bytes", lambda: b"other bytes")
    assert DATA().fingerprint() != first


def test_missing_scikit_learn_is_a_user_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch, forgotten: None) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match="pip install scikit-learn"):
        DATA().fingerprint()


def test_parse_digits_refuses_a_short_table() -> None:
    with pytest.raises(UserError, match="not 1797 rows"):
        parse_digits(b"\n".join([b",".join([b"1"] * 65)] * 3))


def test_parse_digits_refuses_what_is_no_number() -> None:
    with pytest.raises(UserError, match="no table of numbers"):
        parse_digits(b"a,b,c")


def test_parse_digits_refuses_a_pixel_out_of_range() -> None:
    row = b",".join([b"17"] + [b"0"] * 64)
    with pytest.raises(UserError, match="not 1797 rows of 64 pixels"):
        parse_digits(b"\n".join([row] * 1797))
