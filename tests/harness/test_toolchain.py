"""Programs are built once for each device, run there, and say what is wrong when they cannot be built."""

from __future__ import annotations

import ctypes
import platform
import subprocess
from pathlib import Path

import pytest

from harness.errors import BuildError, Unsupported
from harness.toolchain import TRIPLES, compiled, preprocessed, shared_library
from targets.target import Target

pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("compiler_cache")]

SOURCE = '#include <stdio.h>\nint main(void) { printf("%zu\\n", sizeof(void *)); return 0; }\n'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "size.c"
    path.write_text(SOURCE)
    return path


@pytest.mark.skipif(platform.machine() not in TRIPLES, reason="this machine's instruction set is none that is built for")
def test_a_program_is_built_once_and_runs(source: Path) -> None:
    program = compiled([source], Target("local"))
    assert subprocess.run([program], capture_output=True, check=True).stdout == b"8\n"
    before = program.stat().st_mtime_ns
    assert compiled([source], Target("local")) == program and program.stat().st_mtime_ns == before
    source.write_text(SOURCE.replace("sizeof(void *)", "sizeof(char)"))
    assert compiled([source], Target("local")) != program


def test_what_does_not_compile_quotes_the_compiler(source: Path) -> None:
    source.write_text("int main(void) { return missing; }\n")
    with pytest.raises(BuildError, match="missing"):
        compiled([source], Target("local"))


def test_a_device_that_nothing_is_built_for_is_unsupported(source: Path) -> None:
    with pytest.raises(Unsupported, match="no compiler here builds for `vax`"):
        compiled([source], Target("old", isa="vax"))


def test_macros_are_those_of_the_device() -> None:
    text = "#if defined(__AVX512F__)\n16\n#elif defined(__ARM_NEON)\n4\n#endif\n"
    assert preprocessed(text, Target("t", isa="aarch64", cpu="cortex_a72")).split() == ["4"]
    assert preprocessed(text, Target("t", isa="x86_64", cpu="x86_64_v4")).split() == ["16"]


@pytest.mark.skipif(platform.machine() not in TRIPLES, reason="this machine's instruction set is none that is built for")
def test_a_library_is_built_once_and_loaded_into_this_process(source: Path) -> None:
    source.write_text("int answer(void) { return 42; }\n")
    library = shared_library(source)
    assert ctypes.CDLL(str(library)).answer() == 42
    before = library.stat().st_mtime_ns
    assert shared_library(source) == library and library.stat().st_mtime_ns == before


def test_a_machine_that_no_library_is_built_for_is_unsupported(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "vax")
    with pytest.raises(Unsupported, match="no compiler here builds libraries for `vax`"):
        shared_library(source)
