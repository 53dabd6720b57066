"""The errors of the harness. A message reads: what happened, where, what to do. `visit.py` and `closing.py` alone turn them into statuses."""

from __future__ import annotations

from targets.errors import UserError, nearest
from targets.session import CommandFailed

__all__ = ["BuildError", "RunnerError", "Unsupported", "UserError", "WrongAnswer", "nearest"]


class BuildError(Exception):
    """A network could not be trained, compressed, exported or built."""


class Unsupported(Exception):  # noqa: N818 - an answer, not a fault
    """Found at build time that a backend cannot run this network; the message names the node. The record says `unsupported`."""


class WrongAnswer(Exception):  # noqa: N818 - the status it becomes
    """The device's answer is not the compressed network's own: no latency is kept."""


class RunnerError(CommandFailed):
    """The runner on the device failed, or what it said cannot be believed. Stable: never retried."""
