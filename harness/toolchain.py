"""The only place that calls a compiler: zig's clang, one pip package that builds static programs for every instruction set."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from harness.cache import appearing, cache_root, locked
from harness.errors import BuildError, Unsupported
from targets.target import Target

TRIPLES: Mapping[str, str] = {
    "x86_64": "x86_64-linux-musl",
    "aarch64": "aarch64-linux-musl",
    "armv7l": "arm-linux-musleabihf",
    "riscv64": "riscv64-linux-musl",
}
"""Instruction set, as `uname -m` names it -> zig's target. musl: a static program runs whatever libc the device has."""
FLAGS = ("-static", "-s", "-O3", "-std=gnu11", "-Wall", "-Wextra", "-Werror")
TIMEOUT_S = 900.0
"""The first build for a target also builds its libc: 20 to 100 s."""


def compiled(sources: Sequence[Path], target: Target) -> Path:
    """A static program for a device, from the cache if these sources were built for it before. BuildError quotes the compiler."""
    triple, cpu = _machine(target)
    arguments = ("-target", triple, f"-mcpu={cpu}", *FLAGS)
    contents = [hashlib.sha256(source.read_bytes()).hexdigest() for source in sources]
    key = hashlib.sha256("\n".join((*arguments, *contents, version("ziglang"), *_native_cpu(cpu))).encode()).hexdigest()
    folder = cache_root() / "programs" / key
    with locked(key):
        if not folder.is_dir():
            with appearing(folder) as scratch:
                _compile([sys.executable, "-m", "ziglang", "cc", *arguments, *map(str, sources), "-o", str(scratch / "program")])
    return folder / "program"


def _machine(target: Target) -> tuple[str, str]:
    isa = target.isa or platform.machine()
    if isa not in TRIPLES:
        raise Unsupported(f"no compiler here builds for `{isa}`; it builds for {', '.join(TRIPLES)}")
    if target.cpu:
        return TRIPLES[isa], target.cpu
    return TRIPLES[isa], "native" if target.transport == "local" and isa == platform.machine() else "baseline"


def _native_cpu(cpu: str) -> tuple[str, ...]:
    """What `native` stands for here: a cache that moves to another machine must not bring instructions that it lacks."""
    info = Path("/proc/cpuinfo")
    if cpu != "native" or not info.exists():
        return ()
    return tuple(sorted({line for line in info.read_text().splitlines() if line.startswith(("flags", "Features", "model name"))}))


def _compile(command: list[str]) -> None:
    cache = cache_root() / "zig"
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(cache),
        "ZIG_GLOBAL_CACHE_DIR": str(cache),
        "ZIG_LOCAL_CACHE_DIR": str(cache),
    }
    try:
        ended = subprocess.run(command, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"the compiler did not end within {TIMEOUT_S:g} s: {' '.join(command)}") from error
    if ended.returncode != 0:
        raise BuildError(f"{' '.join(command)} failed: {ended.stderr.decode('utf-8', 'replace')[-2000:]}")
