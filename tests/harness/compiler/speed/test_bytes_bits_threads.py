"""How fast bytes are without instructions for their products, weights of few values where reading them takes the time, and two threads.

`nox -s bench` prints the tables of docs/performance.md; nothing is asserted about time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler import lower_layers, threads
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.operators import Conv, Dense, Requantize, Window

Array = npt.NDArray[Any]
pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("compiler_cache")]
LAYERS = ((16, 16, 8, 3), (64, 64, 56, 3), (256, 256, 14, 3), (512, 512, 7, 3), (64, 256, 56, 1))
"""(channels, outputs, size, kernel), first one that takes no time."""
DENSE = ((1, 64, 48), (1, 256, 256), (1, 1024, 1024), (1, 4096, 4096), (4, 1024, 1024), (16, 1024, 1024))
"""(places, inputs, outputs), likewise."""
BITS = (1, 2, 4)


def convolution(channels: int, outputs: int, size: int, kernel: int, *, is_integer: bool) -> tuple[Graph, dict[str, Array]]:
    """Over an image that is padded."""
    rng = np.random.default_rng(0)
    weights, image = (kernel, kernel, channels, outputs), (1, size + kernel - 1, size + kernel - 1, channels)
    constants: dict[str, Array] = {"w": rng.standard_normal(weights, np.float32), "b": np.zeros(outputs, np.float32)}
    x: Array = rng.standard_normal(image, np.float32)
    names, requantize = ["x", "w", "b"], None
    if is_integer:
        constants = {"w": rng.integers(-127, 128, weights).astype(np.int8), "b": np.zeros(outputs, np.int32)}
        constants["m"], x = np.full(outputs, 1e-4, np.float32), rng.integers(0, 256, image).astype(np.uint8)
        names, requantize = [*names, "m"], Requantize(0, 0, "uint8", 0, 255)
    node = Node(Conv(Window((kernel, kernel)), requantize=requantize), tuple(names), "y", "layer")
    return Graph.of({"x": Type(x.dtype.name, x.shape)}, ["y"], [node], constants), {"x": x}


def table(title: str, columns: str, rows: list[str]) -> None:
    print(f"\n\n{title}\n\n| {columns} |\n|{'---|' * (columns.count('|') + 1)}")
    print("\n".join(rows))


@pytest.mark.parametrize("cpu", ["x86_64_v3", "x86_64_v4"])
def test_bytes(either: Callable[..., Any], in_turns: Callable[..., list[float]], benchmark: Any, cpu: str) -> None:
    """Dense layers, by AVX2 and by AVX-512 without dot products of bytes, against the same layer in float32."""
    if "avx512bw" not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip("no avx512bw here")
    rows = []
    for layer in LAYERS[1:] if benchmark.enabled else LAYERS[:1]:
        floats, integers = (either(*convolution(*layer, is_integer=i), "dense", cpu) for i in (False, True))
        a, b = in_turns([floats, integers], 25 if benchmark.enabled else 1)
        assert integers.facts["integer_macs"] == integers.facts["macs"] and integers.outputs[0].any()
        rows.append(
            f"| {layer[0]}→{layer[1]}, {layer[2]}², {layer[3]}×{layer[3]} | {a * 1e6:.0f} | {b * 1e6:.0f} | {a / b:.2f}× |"
        )
    benchmark(integers)
    if benchmark.enabled:
        table(cpu, "layer | float32 µs | int8 µs | gain", rows)


def test_bits(
    either: Callable[..., Any], in_turns: Callable[..., list[float]], benchmark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dense layers whose weights are on a grid, by tables, forced also where they would not be chosen, against the same layer in floats."""
    rng = np.random.default_rng(0)
    rows = []
    for places, inputs, outputs in DENSE[1:] if benchmark.enabled else DENSE[:1]:
        for bits in BITS:
            level = rng.integers(0, 2**bits, (inputs, outputs)) - (2**bits - 1) / 2
            constants = {"w": (level * rng.uniform(0.1, 1, outputs)).astype(np.float32), "b": np.zeros(outputs, np.float32)}
            graph = Graph.of(
                {"x": Type("float32", (places, inputs))}, ["y"], [Node(Dense(), ("x", "w", "b"), "y", "d")], constants
            )
            given = {"x": rng.standard_normal((places, inputs), np.float32)}
            chosen = either(graph, given, "chosen").facts["kernels"] == {"hk_f32_lut_dense": 1}
            programs = []
            for forced in (False, True):
                monkeypatch.setattr(lower_layers, "pays", lambda *_, answer=forced: answer)
                programs.append(either(graph, given, "dense"))
            monkeypatch.undo()
            a, b = in_turns(programs, 25 if benchmark.enabled else 1)
            assert programs[1].facts["layers"][0]["format"] == f"lut {bits} bit{'s' * (bits > 1)}"
            wanted = given["x"].astype(np.float64) @ constants["w"]
            for program in programs:
                np.testing.assert_allclose(program.outputs[0], wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
            cost = f"{a * 1e6:.1f} | {b * 1e6:.1f} | {a / b:.2f}× | {'yes' if chosen else 'no'} |"
            rows.append(f"| {inputs}→{outputs}, {places} | {bits} | {cost}")
    benchmark(programs[1])
    if benchmark.enabled:
        table("float32", "dense layer, places | bits | products µs | tables µs | gain | chosen", rows)


@pytest.mark.parametrize("is_integer", [False, True], ids=["float32", "int8"])
def test_two_threads(either: Callable[..., Any], benchmark: Any, monkeypatch: pytest.MonkeyPatch, is_integer: bool) -> None:
    """The least of single inferences: on a busy machine, two threads seldom run at once."""
    if len(os.sched_getaffinity(0)) < 2 and benchmark.enabled:
        pytest.skip("one CPU")
    if not benchmark.enabled:
        monkeypatch.setattr(threads, "LEAST_PRODUCTS", {"float32": 0, "int8": 0})
    rows = []
    for layer in LAYERS[1:] if benchmark.enabled else LAYERS[:1]:
        programs = [either(*convolution(*layer, is_integer=is_integer), "dense", threads=count) for count in (1, 2)]
        assert programs[1].facts["layers"][0]["shared"]
        least = [float("inf")] * 2
        for _ in range(1000 if benchmark.enabled else 1):
            for index, program in enumerate(programs):
                start = time.perf_counter()
                program()
                least[index] = min(least[index], time.perf_counter() - start)
        np.testing.assert_array_equal(programs[1].outputs[0], programs[0].outputs[0])
        a, b = least
        rows.append(
            f"| {layer[0]}→{layer[1]}, {layer[2]}², {layer[3]}×{layer[3]} | {a * 1e6:.0f} | {b * 1e6:.0f} | {a / b:.2f}× |"
        )
    benchmark(programs[0])
    if benchmark.enabled:
        table("int8" if is_integer else "float32", "layer | 1 thread µs | 2 threads µs | gain", rows)
