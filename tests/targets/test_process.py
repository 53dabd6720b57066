"""A command in a group of its own; most of it is in test_session_contract.py, which every transport passes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from targets.process import run_group
from targets.session import CommandFailed

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def test_a_command_that_closed_its_streams_is_waited_for(tmp_path: Path) -> None:
    result = run_group(["sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 4"], folder=tmp_path, environment=ENVIRONMENT, timeout_s=20)
    assert result.exit_status == 4 and not result.timed_out and result.duration_s >= 0.2


def test_a_command_that_closed_its_streams_meets_its_deadline(tmp_path: Path) -> None:
    result = run_group(["sh", "-c", "exec >&- 2>&-; exec sleep 300"], folder=tmp_path, environment=ENVIRONMENT, timeout_s=0.2)
    assert result.timed_out and result.exit_status == -15


def test_a_stopped_command_is_killed(tmp_path: Path) -> None:
    result = run_group(["sh", "-c", "kill -STOP $$"], folder=tmp_path, environment=ENVIRONMENT, timeout_s=0.2)
    assert result.timed_out and result.exit_status == -9


def test_programs_are_found_on_the_path_of_the_environment(tmp_path: Path) -> None:
    program = tmp_path / "greet"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    assert run_group(["greet"], folder=tmp_path, environment={"PATH": str(tmp_path)}, timeout_s=10).stdout == b"hello\n"
    assert run_group(["greet"], folder=tmp_path, environment=ENVIRONMENT, timeout_s=10).exit_status == 127
    assert run_group(["./greet"], folder=tmp_path, environment=ENVIRONMENT, timeout_s=10).stdout == b"hello\n"


def test_a_folder_that_is_not_there_is_not_taken_for_the_program(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="cannot be entered"):
        run_group(["true"], folder=tmp_path / "absent", environment=ENVIRONMENT, timeout_s=10)


def test_duration_is_what_the_command_took(tmp_path: Path) -> None:
    started = time.monotonic()
    result = run_group(["sleep", "0.3"], folder=tmp_path, environment=ENVIRONMENT, timeout_s=20)
    assert 0.3 <= result.duration_s <= time.monotonic() - started
