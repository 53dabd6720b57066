"""Finding all that a command started, by the name that its environment carries: on this machine (other devices: `targets/shell.py`).

A run's name is `<pid namespace>.<process id>.<start, in ticks after boot>.<number>`, of the process that watches over it: this one here, the
session's shell on a device. So whoever comes next can tell what a killed harness left running from what another still uses; what belongs to
another namespace (a container) is left alone, since its numbers mean nothing here.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "ASSAY_RUN"
PATIENCE_S = 10.0
_NAME = re.compile(rb"\d+\.\d+\.\d+\.\d+")
_numbers = itertools.count(1)


def new_run() -> str:
    """A name that no other run of this machine has while this process lives."""
    return f"{_namespace()}.{os.getpid()}.{_started(os.getpid())}.{next(_numbers):06d}"


def slay(run: str) -> None:
    """Kill every process of the run, and wait until they are gone."""
    deadline = time.monotonic() + PATIENCE_S
    while found := [pid for pid, name in _running() if name == run]:
        for pid in found:
            _kill(pid)
        if time.monotonic() > deadline:
            return
        time.sleep(0.001)


def sweep() -> None:
    """Kill what runs of harnesses that are gone left behind."""
    for name in {name for _, name in _running()}:
        namespace, pid, started, _ = map(int, name.split("."))
        if namespace == _namespace() and _started(pid) != started:
            slay(name)


def _running() -> Iterator[tuple[int, str]]:
    """Process and run of all that carry one; what is not ours to read is not ours. Systems without /proc show none."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        for entry in environment.split(b"\0"):
            key, _, name = entry.partition(b"=")
            if key == VARIABLE.encode() and _NAME.fullmatch(name):
                yield int(folder.name), name.decode()


def _namespace() -> int:
    """`pid:[4026531836]`; 0 where the kernel has none."""
    link = Path("/proc/self/ns/pid")
    return int(str(link.readlink()).strip("pid:[]")) if link.is_symlink() else 0


def _started(pid: int) -> int:
    """Ticks after boot; 0 where there is no such process, or only its unreaped rest, or no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    state, *fields = stat.rpartition(")")[2].split()
    return 0 if state in "ZX" else int(fields[18])


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
