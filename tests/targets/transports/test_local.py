"""This machine as a target: its work directory and its interpreter."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from targets.session import CommandFailed
from targets.target import Target
from targets.transports import connect, names


def test_it_is_listed() -> None:
    assert "local" in names()


def test_default_work_directory_is_in_the_cache(own_cache: Path) -> None:
    with connect(Target("desk")) as session:
        assert session.run(["pwd"], timeout_s=10).stdout.decode().strip() == str(own_cache / "device" / "desk")
        assert session.python == sys.executable
    assert (own_cache / "device" / "desk").stat().st_mode & 0o777 == 0o700


def test_the_target_names_its_interpreter() -> None:
    with connect(Target("desk", python="/usr/bin/other")) as session:
        assert session.python == "/usr/bin/other"


def test_a_work_directory_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CommandFailed, match="target desk: no work directory"),
        connect(Target("desk", work_dir=str(tmp_path / "file" / "x"))),
    ):
        pass
