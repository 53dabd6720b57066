"""The only place that calls a compiler: zig's clang, one pip package that builds static programs for every instruction set."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
import tempfile
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
FLAGS = ("-O3", "-std=gnu11", "-Wall", "-Wextra", "-Werror")
LINK = ("-O3", "-static", "-s")
RUNNER = Path(__file__).parent / "runners" / "program"
"""C of the runner and `model.h`, which a network's C implements to become a program with it."""
TIMEOUT_S = 900.0
"""The first build for an instruction set also builds its libc: 20 to 100 s."""


def runner_program(model: Sequence[Path], target: Target, *, flags: Sequence[str] = ()) -> Path:
    """The program that runs the network whose C (`runners/program/model.h`) this is: an artifact's first file."""
    return compiled([*sorted(RUNNER.glob("*.c")), *model], target, headers=sorted(RUNNER.glob("*.h")), flags=flags)


def compiled(sources: Sequence[Path], target: Target, *, headers: Sequence[Path] = (), flags: Sequence[str] = ()) -> Path:
    """A static program for a device, from the cache if these sources were built for it before. BuildError quotes the compiler.

    `headers` are found by their names alone; `flags` are the compiler's, beside those of every program. Only the sources are compiled for the
    very CPU: the linker is told the instruction set alone, or it would first build a libc for each CPU.
    """
    machine = machine_flags(target)
    arguments = (*machine, *FLAGS, *flags)
    contents = [f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in (*sources, *headers)]
    key = _key(arguments, *LINK, *contents)
    folder = cache_root() / "programs" / key
    include = [f"-I{parent}" for parent in dict.fromkeys(header.parent for header in headers)]
    with locked(key):
        if not folder.is_dir():
            with appearing(folder) as scratch:
                objects = [scratch / f"{index}.o" for index in range(len(sources))]
                for source, made in zip(sources, objects, strict=True):
                    _compile(["cc", *arguments, *include, "-c", str(source), "-o", str(made)])
                _compile(["cc", *machine[:2], *LINK, *map(str, objects), "-lm", "-pthread", "-o", str(scratch / "program")])
                for made in objects:
                    made.unlink()
    return folder / "program"


def shared_library(source: Path) -> Path:
    """A library for this very process, from the cache if this source was built here before: hot loops that Python calls through ctypes."""
    isa, libc = platform.machine(), "gnu" if platform.libc_ver()[0] == "glibc" else "musl"
    if isa not in TRIPLES or platform.system() != "Linux":
        raise Unsupported(f"no compiler here builds libraries for `{isa}` and {platform.system()}")
    triple = TRIPLES[isa].replace("musl", libc)
    arguments = ("-target", triple, "-mcpu=native", "-shared", "-fPIC", "-s", *FLAGS)
    key = _key(arguments, hashlib.sha256(source.read_bytes()).hexdigest())
    folder = cache_root() / "libraries" / key
    with locked(key):
        if not folder.is_dir():
            with appearing(folder) as scratch:
                words = [*arguments, str(source), "-lm", "-o", str(scratch / "library.so")]
                _compile(["cc", *words])
    return folder / "library.so"


def preprocessed(text: str, target: Target, *, headers: Sequence[Path] = ()) -> str:
    """What the compiler makes of C's macros for a device."""
    include = [f"-I{parent}" for parent in dict.fromkeys(header.parent for header in headers)]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "macros.c")
        source.write_text(text, encoding="utf-8")
        return _compile(["cc", "-E", "-P", *machine_flags(target), *include, str(source)])


def machine_flags(target: Target) -> tuple[str, str, str]:
    """What tells zig's clang which device it builds for."""
    isa = target.isa or platform.machine()
    if isa not in TRIPLES:
        raise Unsupported(f"no compiler here builds for `{isa}`; it builds for {', '.join(TRIPLES)}")
    own = "native" if target.transport == "local" and isa == platform.machine() else "baseline"
    return "-target", TRIPLES[isa], f"-mcpu={target.cpu or own}"


def _key(arguments: Sequence[str], *contents: str) -> str:
    """Of all that decides what the compiler makes."""
    return hashlib.sha256("\n".join((*arguments, *contents, version("ziglang"), *_native_cpu(arguments))).encode()).hexdigest()


def _native_cpu(arguments: Sequence[str]) -> tuple[str, ...]:
    """What `native` stands for here: a cache that moves to another machine must not bring instructions that it lacks."""
    info = Path("/proc/cpuinfo")
    if "-mcpu=native" not in arguments or not info.exists():
        return ()
    return tuple(sorted({line for line in info.read_text().splitlines() if line.startswith(("flags", "Features", "model name"))}))


def _compile(words: list[str]) -> str:
    """What it prints."""
    command = [sys.executable, "-m", "ziglang", *words]
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
    return ended.stdout.decode("utf-8", "replace")
