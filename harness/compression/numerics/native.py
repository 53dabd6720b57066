"""Hot loops in C beside the files that call them: compiled at first use for this machine, called without Python's lock, rows shared among threads.

A file that has one also has the same loop in NumPy, which is used where no compiler builds for this machine, and with which tests compare.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import BuildError, Unsupported
from harness.toolchain import shared_library

STATUS = {1: "there is not enough memory", 2: "the matrix is not positive definite in float32; a larger damping makes it so"}
"""What a loop returns beside 0."""


@functools.cache
def compiled_loops(source: Path) -> ctypes.CDLL | None:
    """The functions of a C file; None where no compiler builds for this machine."""
    try:
        return ctypes.CDLL(str(shared_library(source)))
    except Unsupported:
        return None


def pointer(array: npt.NDArray[Any], dtype: type[np.generic]) -> ctypes.c_void_p:
    """To an array that is already as C wants it; the caller keeps it alive."""
    assert array.dtype == dtype, f"{array.dtype}, not {dtype}"
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def by_rows(loop: Callable[[slice], int], rows: int, what: str) -> None:
    """`loop` over all rows, a part of them to each CPU; rows know nothing of each other, so the parts change no result. BuildError by its status."""
    threads = max(min(rows, len(os.sched_getaffinity(0))), 1)
    bounds = np.linspace(0, rows, threads + 1).round().astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        for status in pool.map(loop, (slice(first, last) for first, last in itertools.pairwise(bounds))):
            if status:
                raise BuildError(f"{what}: {STATUS[status]}")
