"""The border to third-party converters: their chatter is kept and counted, their faults become BuildError."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import IO

from harness.errors import BuildError, Unsupported, UserError

_LOCK = threading.Lock()
"""File descriptors and warning filters belong to the whole process."""
_WARNING_LINE = re.compile(r"^(W\d{4} |\[W:|WARNING|\S*Warning\b)|: \w*Warning: ")
_TAIL_LINES = 5
_MESSAGE_CHARS = 600


@dataclass
class Chatter:
    """What a converter said; complete once its `conversion` block has ended."""

    text: str = ""
    warnings: int = 0
    """Python warnings plus printed lines that call themselves one."""


@contextlib.contextmanager
def conversion(step: str) -> Iterator[Chatter]:
    """Run a converter with stdout and stderr (C++ included) captured; any fault of it is a BuildError that quotes the last lines.

    Converters raise what they like (ONNX Runtime's errors derive from Exception directly), so this border, and only it, turns
    every Exception into the one error that the harness records. Nothing is swallowed: the cause stays chained.
    """
    chatter = Chatter()
    with _LOCK, warnings.catch_warnings(record=True) as caught, tempfile.TemporaryFile("w+", errors="replace") as log:
        warnings.simplefilter("always")
        try:
            with _redirected(log.fileno()), contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield chatter
        except (BuildError, Unsupported, UserError):
            raise
        except Exception as error:
            raise BuildError(f"{step} failed: {_summary(error)}{_tail(log)}") from error
        log.seek(0)
        chatter.text = log.read()
        chatter.warnings = len(caught) + sum(bool(_WARNING_LINE.search(line)) for line in chatter.text.splitlines())


def versions(*distributions: str) -> dict[str, str]:
    """Installed versions by distribution name."""
    return {name: version(name) for name in distributions}


@contextlib.contextmanager
def _redirected(descriptor: int) -> Iterator[None]:
    """Point file descriptors 1 and 2 at another file: C++ code writes there without asking Python."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    try:
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        yield
    finally:
        for target, source in zip((1, 2), saved, strict=True):
            os.dup2(source, target)
            os.close(source)


def _summary(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:_MESSAGE_CHARS]}{' ...' if len(text) > _MESSAGE_CHARS else ''}"


def _tail(log: IO[str]) -> str:
    log.seek(0)
    lines = [line.strip() for line in log.read().splitlines() if line.strip()]
    return f" (it last said: {' | '.join(lines[-_TAIL_LINES:])[-_MESSAGE_CHARS:]})" if lines else ""
