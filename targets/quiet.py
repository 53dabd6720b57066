"""Quiet: while a region is timed on a physical host, nothing else of ours runs there, whichever process started it.

Advisory locks (flock) on files in one folder a user: `working` is shared, `timing` exclusive. The kernel drops a lock with the process
that held it, so a killed harness leaves none behind. Harnesses of other users, or with another TMPDIR, are not kept out.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from targets.session import CommandFailed

HERE = "localhost"
"""The machine that Assay runs on, where it trains and builds, as `Target.host` names it."""

_held = threading.local()


@contextmanager
def timing(host: str, *, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Alone on the host: waits until no one works or times there. `on_wait` is called once if it has to wait."""
    with _region(host, fcntl.LOCK_EX, on_wait):
        yield


@contextmanager
def working(host: str, *, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Building, training, copying on the host, together with others that work; waits while someone times, or waits to."""
    with _region(host, fcntl.LOCK_SH, on_wait):
        yield


@contextmanager
def _region(host: str, mode: int, on_wait: Callable[[], None]) -> Iterator[None]:
    """Two locks: whoever enters passes the gate one at a time, so that a stream of workers cannot keep one who times out for ever."""
    held: set[str] = getattr(_held, "hosts", set())
    if host in held:
        raise RuntimeError(
            f"this thread is already in a quiet region of host {host}; a second one would wait for the first for ever"
        )
    name = _file_name(host)
    folder = _folder()
    with (folder / f"{name}.gate").open("w") as gate, (folder / f"{name}.room").open("w") as room:
        if not (_try(gate.fileno(), fcntl.LOCK_EX) and _try(room.fileno(), mode)):
            on_wait()
            fcntl.flock(gate, fcntl.LOCK_EX)
            fcntl.flock(room, mode)
        fcntl.flock(gate, fcntl.LOCK_UN)
        _held.hosts = held | {host}
        try:
            yield
        finally:
            _held.hosts -= {host}
            fcntl.flock(room, fcntl.LOCK_UN)  # said, not left to close(): a forked child may hold the file open


def _try(fd: int, mode: int) -> bool:
    try:
        fcntl.flock(fd, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"assay-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise CommandFailed(f"{folder} is not a folder of this user; remove it, or set TMPDIR to a folder of your own")
    return folder


def _file_name(host: str) -> str:
    """Readable, and different for different hosts whatever stands in their names."""
    return f"{re.sub(r'[^A-Za-z0-9.-]', '_', host)[:40]}-{hashlib.sha256(host.encode()).hexdigest()[:12]}"
