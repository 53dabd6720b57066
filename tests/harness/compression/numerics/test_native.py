from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from harness.compression.numerics import native
from harness.compression.numerics.native import by_rows, compiled_loops, pointer
from harness.errors import BuildError, Unsupported

pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("compiler_cache")]

DOUBLE = """
int doubled(int count, float *values)
{
    for (int i = 0; i < count; i++)
        values[i] *= 2.0f;
    return 0;
}
"""


def test_a_loop_is_compiled_and_works_in_place(tmp_path: Path) -> None:
    source = tmp_path / "doubled.c"
    source.write_text(DOUBLE)
    loops = compiled_loops(source)
    assert isinstance(loops, ctypes.CDLL)
    values = np.arange(10, dtype=np.float32)
    by_rows(lambda part: int(loops.doubled(len(values[part]), pointer(values[part], np.float32))), 10, "doubling")
    assert values.tolist() == list(range(0, 20, 2))
    assert compiled_loops(source) is loops


def test_where_nothing_compiles_for_the_machine_there_are_no_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_source: Path) -> Path:
        raise Unsupported("a machine of another kind")

    monkeypatch.setattr(native, "shared_library", refuse)
    assert compiled_loops(tmp_path / "other.c") is None


def test_c_that_does_not_compile_is_an_error_and_no_reason_to_use_numpy(tmp_path: Path) -> None:
    source = tmp_path / "spoiled.c"
    source.write_text("int f(void) { return missing; }\n")
    with pytest.raises(BuildError, match="missing"):
        compiled_loops(source)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_every_row_is_done_once_and_what_goes_wrong_is_said(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1, 2})
    done = np.zeros(rows, int)

    def loop(part: slice) -> int:
        done[part] += 1
        return 0

    by_rows(loop, rows, "counting")
    assert done.tolist() == [1] * rows
    with pytest.raises(BuildError, match="counting: there is not enough memory"):
        by_rows(lambda _part: 1, rows, "counting")


def test_an_array_of_another_type_or_order_is_not_handed_to_c() -> None:
    with pytest.raises(AssertionError, match="float64, not"):
        pointer(np.zeros(3), np.float32)
    with pytest.raises(AssertionError):
        pointer(np.zeros((3, 4), np.float32)[:, ::2], np.float32)
