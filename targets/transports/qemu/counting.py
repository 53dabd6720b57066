"""Has an emulator count the instructions of its program: a plugin of QEMU's (`count.c`), compiled at first use."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from pathlib import Path

from targets.cache import appearing, cache_root, locked
from targets.session import CommandFailed

SOURCE = Path(__file__).with_name("count.c")
VARIABLE = "ASSAY_INSTRUCTIONS"
"""Tells the emulated program the file whose first eight bytes are the count so far (`harness/runners/program/instructions.c` reads it)."""
FD = 1000
"""Of that file, which is in memory and goes with the process: above what a runner opens, below what a process may."""
TIMEOUT_S = 900.0


def counting_words(target: str, emulator: str, version: str) -> tuple[str, ...]:
    """The options by which an emulator of that version counts. CommandFailed where it takes no plugins, or ours cannot be compiled."""
    if "-plugin" not in _run([emulator, "-h"], {}).stdout:
        raise CommandFailed(
            f"target {target}: {emulator} takes no plugins, so it cannot count instructions; install an emulator that is not static (Debian: "
            "apt-get install qemu-user), or leave out `counts_instructions`"
        )
    file = str(_plugin(version)).replace(",", ",,")  # as the emulator reads a comma in a value
    return "-plugin", f"file={file},fd={FD}", "-E", f"{VARIABLE}=/proc/self/fd/{FD}"


def _plugin(version: str) -> Path:
    """The plugin, from the cache if it was compiled before."""
    number = 1 if int(version.partition(".")[0]) < 9 else 2  # of the interface: all of it that we use is the same in both
    words = ["-target", f"{platform.machine()}-linux-gnu", "-shared", "-fPIC", "-O2", f"-DPLUGIN_VERSION={number}"]
    key = hashlib.sha256("\n".join([SOURCE.read_text(encoding="utf-8"), *words]).encode()).hexdigest()
    folder = cache_root() / "emulators" / key
    with locked(key):
        if not folder.is_dir():
            with appearing(folder) as scratch:
                _compile([*words, str(SOURCE), "-o", str(scratch / "count.so")])
    return folder / "count.so"


def _compile(words: list[str]) -> None:
    cache = str(cache_root() / "zig")
    environment = {"PATH": "/usr/bin:/bin", "HOME": cache, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    command = [sys.executable, "-m", "ziglang", "cc", *words]
    ended = _run(command, environment)
    if ended.returncode != 0:
        raise CommandFailed(
            f"the plugin that counts instructions cannot be compiled: {' '.join(command)}: {ended.stderr[-2000:]}"
        )


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandFailed(f"instructions cannot be counted: {error}") from error
