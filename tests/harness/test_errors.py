"""The errors of the harness and what becomes of them."""

from __future__ import annotations

import errno

import pytest

from harness.errors import BuildError, RunnerError, is_disk_full
from targets.session import CommandFailed


def test_a_runner_s_failure_is_stable_like_any_command_s() -> None:
    assert issubclass(RunnerError, CommandFailed)


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (BuildError("zig failed: error: NoSpaceLeft"), True),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (CommandFailed("No space left on device"), False),
    ],
)
def test_a_full_disk_is_known_by_its_number_or_by_the_words_of_libraries(error: Exception, is_it: bool) -> None:
    """A device's own full disk is the device's answer."""
    assert is_disk_full(error) == is_it
    outer = BuildError("cannot be built")
    outer.__cause__ = error
    assert is_disk_full(outer) == is_it
