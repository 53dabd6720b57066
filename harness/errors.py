"""The errors of the harness. A message reads: what happened, where, what to do. `visit.py` and `closing.py` alone turn them into statuses."""

from __future__ import annotations

import errno

from targets.errors import UserError, nearest
from targets.session import CommandFailed

__all__ = ["BuildError", "RunnerError", "Unsupported", "UserError", "WrongAnswer", "is_disk_full", "nearest"]


class BuildError(Exception):
    """A network could not be trained, compressed, exported or built."""


class Unsupported(Exception):  # noqa: N818 - an answer, not a fault
    """Found at build time that a backend cannot run this network; the message names the node. The record says `unsupported`."""


class WrongAnswer(Exception):  # noqa: N818 - the status it becomes
    """The device's answer is not the compressed network's own: no latency is kept."""


class RunnerError(CommandFailed):
    """The runner on the device failed, or what it said cannot be believed. Stable: never retried."""


def is_disk_full(error: BaseException) -> bool:
    """Whether this machine had no room for a file: that passes, and is no fault of a network's or a device's. Libraries and compilers
    tell it in words of their own."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    says_so = not isinstance(error, CommandFailed) and any(told in str(error) for told in ("No space left", "NoSpaceLeft"))
    cause = error.__cause__ or error.__context__
    return says_so or (cause is not None and is_disk_full(cause))
