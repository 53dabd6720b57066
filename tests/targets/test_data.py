from __future__ import annotations

from pathlib import Path

import pytest

from targets.data import data_root


def test_data_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/x")
    assert data_root() == Path("/x/assay")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert data_root() == Path("/home/me/.local/share/assay")
