"""The questions of CLINC150 (Larson et al. 2019, CC BY 3.0) that are in scope, 150 intents, whichever way their words become numbers."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.data import Source, Split, hashed_order
from harness.data.sources.archives import zip_members
from harness.data.sources.files import Pinned, places

URL = "https://raw.githubusercontent.com/clinc/oos-eval/48a0e1cff8f43dd4d0836ecb4ed5df08733e3d2e/data/data_full.json"
FILE = Pinned(
    data="clinc150",
    name="data_full.json",
    size_bytes=2_495_390,
    sha256="36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0",
    how=f"get {URL} and put it into $ASSAY_DATA/clinc150",
    url=URL,
)
ZIP = "clinc150.zip"
"""May hold the file instead."""
PARTS: Mapping[Split, str] = {"train": "train", "validation": "val", "test": "test"}
INTENTS = 150
SALT = "assay clinc150 1"


class Questions(NamedTuple):
    texts: tuple[str, ...]
    intents: npt.NDArray[np.int64]
    """[n] numbers of the intents in alphabetical order."""


def source() -> Source:
    packed = _zip()
    return FILE.source() if packed is None else Source(str(packed))


@functools.cache
def questions() -> dict[Split, Questions]:
    """The published splits, 100, 20 and 30 questions of each intent, shuffled once."""
    document: dict[str, Any] = json.loads(_content())
    numbers = {name: number for number, name in enumerate(sorted({intent for _, intent in document["train"]}))}
    found: dict[Split, Questions] = {}
    for split, part in PARTS.items():
        pairs = [document[part][i] for i in hashed_order(len(document[part]), f"{SALT} {split}")]
        found[split] = Questions(tuple(text for text, _ in pairs), np.array([numbers[intent] for _, intent in pairs], np.int64))
    return found


def _content() -> bytes:
    packed = _zip()
    if packed is None:
        return FILE.read()
    content = zip_members(packed, {FILE.name: FILE.size_bytes})[FILE.name]
    FILE.check(content, str(packed))
    return content


def _zip() -> Path | None:
    """The zip, where it is all there is."""
    return None if FILE.find() else next((place / ZIP for place in places(FILE.data) if (place / ZIP).is_file()), None)
