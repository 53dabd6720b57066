from __future__ import annotations

from pathlib import Path

import pytest

from targets.cache import cache_root


def test_the_cache_is_where_the_environment_says(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_root() == own_cache
    monkeypatch.delenv("ASSAY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_root() == Path("/x/assay")
