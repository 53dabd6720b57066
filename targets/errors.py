"""What the user wrote is at fault: a suite, an inventory, a name, a parameter."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """The user's input is at fault: raised before any device is touched, exit status 2, never a traceback."""


def nearest(name: str, known: Iterable[str]) -> str:
    """' Did you mean `x`?' or, with nothing near, the known names; for the end of an error message."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f" Did you mean `{close[0]}`?"
    return f" Known: {', '.join(names)}." if names else ""
