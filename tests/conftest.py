"""Fixtures that every test shares: fixed seeds, and a cache and a store of the test's own."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - third-party code draws from the global generator


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache."""
    cache = tmp_path / "assay-cache"
    monkeypatch.setenv("ASSAY_CACHE", str(cache))
    return cache
