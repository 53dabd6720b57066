"""A session with this machine, as with any device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from targets.session import Session
from targets.target import Target
from targets.transports import connect


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with connect(Target("device", work_dir=str(tmp_path / "work"))) as session:
        yield session
