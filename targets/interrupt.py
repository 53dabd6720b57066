"""Ctrl-C for threads: Python lets the main thread alone hear it. Others are told, and hear it at the next turn of whatever they wait in.

Every loop that waits for a device calls `check`. It raises KeyboardInterrupt once a thread: what then tidies up may wait again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

TICK_S = 0.05

_here = threading.local()


@contextmanager
def interruptible(by: threading.Event) -> Iterator[None]:
    """In this block, and in this thread, `check` raises once the event is set."""
    _here.event = by
    try:
        yield
    finally:
        _here.event = None


def check() -> None:
    event: threading.Event | None = getattr(_here, "event", None)
    if event is not None and event.is_set():
        _here.event = None
        raise KeyboardInterrupt


def sleep(seconds: float) -> None:
    """`time.sleep` that an interrupt ends."""
    deadline = time.monotonic() + seconds
    while True:
        check()
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return
        time.sleep(min(TICK_S, left_s))
