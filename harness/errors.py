"""The errors of the harness. A message reads: what happened, where, what to do. `run.py` alone turns them into statuses."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from targets.session import CommandFailed


class UserError(Exception):
    """The user's input is at fault: raised before any device is touched, exit status 2, never a traceback."""


class BuildError(Exception):
    """A network could not be trained, compressed, exported or built."""


class Unsupported(Exception):  # noqa: N818 - an answer, not a fault
    """Found at build time that a backend cannot run this network; the message names the node. The record says `unsupported`."""


class WrongAnswer(Exception):  # noqa: N818 - the status it becomes
    """The device's answer is not the compressed network's own: no latency is kept."""


class RunnerError(CommandFailed):
    """The runner on the device failed, or what it said cannot be believed. Stable: never retried."""


def nearest(name: str, known: Iterable[str]) -> str:
    """' Did you mean `x`?' or, with nothing near, the known names; for the end of an error message."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f" Did you mean `{close[0]}`?"
    return f" Known: {', '.join(names)}." if names else ""
