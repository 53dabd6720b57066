"""Transports: a file exports `connect(target)`, a context manager that yields a Session."""

from __future__ import annotations

import importlib
import pkgutil
from contextlib import AbstractContextManager
from typing import Protocol

from targets.session import Session
from targets.target import Target


class Connect(Protocol):
    def __call__(self, target: Target) -> AbstractContextManager[Session]: ...


def names() -> tuple[str, ...]:
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def connect(target: Target) -> AbstractContextManager[Session]:
    """Open a session over the target's transport; its SDK is imported only now."""
    open_session: Connect = importlib.import_module(f"{__name__}.{target.transport}").connect
    return open_session(target)
