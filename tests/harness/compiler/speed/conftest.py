"""Programs in this process, and how what is compared is timed: in turns, and the least of many rounds counts."""

from __future__ import annotations

import ctypes
import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler.choice import COSTS, Costs
from harness.compiler.emit import emitted
from harness.compiler.ir import Graph
from harness.compiler.program import FLAGS, vectors_of
from harness.roofline import SOURCE
from harness.toolchain import RUNNER, compiled
from targets.target import Target

Array = npt.NDArray[Any]


class Program:
    """A graph, compiled and loaded into this process."""

    def __init__(self, graph: Graph, given: dict[str, Array], folder: Path, cpu: str = "native", threads: int = 1) -> None:
        made = emitted(graph, vectors_of(Target("local", cpu=cpu)))
        self.facts = made.facts
        folder.mkdir()
        (folder / "model.c").write_text(made.source)
        words = [sys.executable, "-m", "ziglang", "cc", "-O3", f"-mcpu={cpu}", "-shared", "-fPIC", *FLAGS, f"-I{RUNNER}"]
        subprocess.run([*words, str(folder / "model.c"), "-o", str(folder / "model.so"), "-lm"], check=True)
        self._library = ctypes.CDLL(str(folder / "model.so"))
        self._weights = aligned(np.frombuffer(made.weights, np.uint8))
        self._arena = aligned(np.zeros(made.facts["arena_bytes"], np.uint8))
        self._inputs = [aligned(given[name]) for name in graph.inputs]
        self.outputs = [aligned(np.zeros(graph.types[name].shape, graph.types[name].dtype)) for name in graph.outputs]
        assert self._library.model_init(address(self._weights), address(self._arena), threads) == 0
        self._arguments = [
            (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays]) for arrays in (self._inputs, self.outputs)
        ]

    def __call__(self) -> None:
        self._library.model_run(*self._arguments)

    def layer_seconds(self, rounds: int) -> list[float]:
        """Of each of `facts["layers"]`: the least of some rounds."""
        ctypes.c_int.in_dll(self._library, "model_profiling").value = 1
        least = np.full(len(self.facts["layers"]), np.inf)
        for _ in range(rounds):
            self()
            ns = (ctypes.c_uint64 * len(least))()
            self._library.model_profile(ns)
            least = np.minimum(least, np.array(ns) * 1e-9)
        ctypes.c_int.in_dll(self._library, "model_profiling").value = 0
        return [float(seconds) for seconds in least]


def aligned(array: Array) -> Array:
    memory = np.zeros(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    found = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    found[...] = array
    return found


def address(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def least_s(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Seconds of each, timed in turns."""
    counts = []
    for call in calls:
        call()
        start = time.perf_counter()
        call()
        counts.append(max(1, int(2e-3 / (time.perf_counter() - start))) if rounds > 1 else 1)
    least = [float("inf")] * len(calls)
    for _ in range(rounds):
        for index, (call, count) in enumerate(zip(calls, counts, strict=True)):
            start = time.perf_counter()
            for _ in range(count):
                call()
            least[index] = min(least[index], (time.perf_counter() - start) / count)
    return least


def blocks(shape: tuple[int, ...], density: float, inputs: int, seed: int = 0) -> Array:
    """[kh, kw, channels, outputs]: that part of the blocks of 16 outputs x `inputs` channels."""
    kh, kw, channels, outputs = shape
    kept = np.random.default_rng(seed).random((kh, kw, -(-channels // inputs), -(-outputs // 16))) < density
    return kept.repeat(inputs, 2).repeat(16, 3)[:, :, :channels, :outputs]


@pytest.fixture
def in_turns() -> Callable[..., list[float]]:
    return least_s


@pytest.fixture
def kept_blocks() -> Callable[..., Array]:
    return blocks


@pytest.fixture
def either(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Graph, dict[str, Array], str], Program]:
    """(graph, inputs, `dense` | `list` | `chosen`, for which CPU, on how many threads) -> the program whose layers run so."""

    def make(graph: Graph, given: dict[str, Array], how: str, cpu: str = "native", threads: int = 1) -> Program:
        with monkeypatch.context() as patched:
            for dtype in COSTS if how != "chosen" else ():
                patched.setitem(COSTS, dtype, Costs(0, 0) if how == "list" else Costs(1e9, 1e9))
            return Program(graph, given, tmp_path / str(len(list(tmp_path.iterdir()))), cpu, threads)

    return make


@pytest.fixture
def peak(benchmark: Any) -> Callable[..., float]:
    """Operations a second of one core at best, in float32 or in bytes; 1 where time does not count."""

    def measure(*, is_integer: bool) -> float:
        return peaks()[is_integer] if benchmark.enabled else 1.0

    return measure


@functools.cache
def peaks() -> tuple[float, float]:
    """Operations a second of one core at best, in float32 and in bytes."""
    program = compiled([SOURCE], Target("local"))
    found = json.loads(subprocess.run([str(program), "1", "65536", "0.3"], capture_output=True, check=True).stdout)
    return found["peak_flops"], found["peak_int8_ops"] or float("nan")
