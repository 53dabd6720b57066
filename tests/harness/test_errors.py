"""The errors of the harness and what becomes of them."""

from __future__ import annotations

from harness.errors import RunnerError
from targets.session import CommandFailed


def test_a_runner_s_failure_is_stable_like_any_command_s() -> None:
    assert issubclass(RunnerError, CommandFailed)
