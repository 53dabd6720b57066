"""The questions of CLINC150 from a made-up file of the published layout."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.data import Source
from harness.data.sources import clinc
from harness.errors import UserError

SHELF = os.environ.get("ASSAY_DATA", "absent")
at_hand = pytest.mark.skipif(not (Path(SHELF) / clinc.ZIP).is_file(), reason="ASSAY_DATA names no folder with CLINC150")
DOCUMENT = {
    "train": [["what's my balance", "money"], ["play a song", "music"]],
    "val": [["balance", "money"]],
    "test": [["play my song", "music"], ["MY balance, please!", "money"]],
    "oos_test": [["how tall is it", "oos"]],
}


@pytest.fixture
def content(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    found = json.dumps(DOCUMENT).encode()
    pinned = dataclasses.replace(clinc.FILE, size_bytes=len(found), sha256=hashlib.sha256(found).hexdigest())
    monkeypatch.setattr(clinc, "FILE", pinned)
    clinc.questions.cache_clear()
    yield found
    clinc.questions.cache_clear()


def pack(shelf: Path, content: bytes) -> None:
    with zipfile.ZipFile(shelf / clinc.ZIP, "w") as archive:
        archive.writestr("data_full.json", content)


@pytest.mark.parametrize("packed", [False, True])
def test_splits_are_the_published_ones_without_what_is_out_of_scope(shelf: Path, content: bytes, packed: bool) -> None:
    if packed:
        pack(shelf, content)
    else:
        (shelf / "data_full.json").write_bytes(content)
    found = {split: dict(zip(q.texts, q.intents.tolist(), strict=True)) for split, q in clinc.questions().items()}
    assert found == {
        "train": {"what's my balance": 0, "play a song": 1},
        "validation": {"balance": 0},
        "test": {"play my song": 1, "MY balance, please!": 0},
    }


def test_other_bytes_are_refused(shelf: Path, content: bytes) -> None:
    pack(shelf, content.replace(b"song", b"tune"))
    with pytest.raises(UserError, match="has sha256"):
        clinc.questions()


def test_the_source_is_the_file_the_zip_or_a_download(shelf: Path, content: bytes) -> None:
    assert clinc.source() == Source(clinc.URL, len(content))
    pack(shelf, content)
    assert clinc.source() == Source(str(shelf / clinc.ZIP))
    (shelf / "data_full.json").write_bytes(content)
    assert clinc.source() == Source(str(shelf / "data_full.json"))


@at_hand
def test_the_real_questions_are_as_many_of_each_intent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_DATA", SHELF)
    clinc.questions.cache_clear()
    counts = {split: np.bincount(q.intents) for split, q in clinc.questions().items()}
    assert {split: (len(found), set(found.tolist())) for split, found in counts.items()} == {
        "train": (150, {100}),
        "validation": (150, {20}),
        "test": (150, {30}),
    }
