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

from targets import interrupt
from targets.session import CommandFailed

HERE = "localhost"
"""The machine that Assay runs on, where it trains and builds, as `Target.host` names it."""

_held = threading.local()


def _pause() -> None:
    interrupt.sleep(0.01)


@contextmanager
def timing(host: str, *, pause: Callable[[], None] = _pause) -> Iterator[None]:
    """Alone on the host: waits until no one works or times there. While it waits it calls `pause` again and again."""
    with _region(host, fcntl.LOCK_EX, pause):
        yield


@contextmanager
def working(host: str, *, pause: Callable[[], None] = _pause) -> Iterator[None]:
    """Building, training, copying on the host, together with others that work; waits while someone times, or waits to."""
    with _region(host, fcntl.LOCK_SH, pause):
        yield


@contextmanager
def alone(name: str, *, pause: Callable[[], None] = _pause) -> Iterator[None]:
    """The one harness of this user on this machine that does what is named so."""
    with (_folder() / f"{_file_name(name)}.alone").open("w") as file:
        while not _try(file.fileno(), fcntl.LOCK_EX):
            pause()
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # as below


@contextmanager
def _region(host: str, mode: int, pause: Callable[[], None]) -> Iterator[None]:
    """Two locks: whoever enters passes the gate one at a time, so that a stream of workers cannot keep one who times out for ever."""
    held: set[str] = getattr(_held, "hosts", set())
    if host in held:
        raise RuntimeError(
            f"this thread is already in a quiet region of host {host}; a second one would wait for the first for ever"
        )
    name = _file_name(host)
    folder = _folder()
    with (folder / f"{name}.gate").open("w") as gate, (folder / f"{name}.room").open("w") as room:
        # Asked again and again, for a thread that waits inside flock() hears no interrupt.
        for file, wanted in ((gate, fcntl.LOCK_EX), (room, mode)):
            while not _try(file.fileno(), wanted):
                pause()
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
