"""Layers that several threads share: the same bytes for any number of them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler import threads
from harness.compiler.choice import Vectors
from harness.compiler.emit import emitted
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.operators import Clamp, Conv, Dense, Pad, Pool, Requantize, Transpose, Window
from harness.compiler.regions import FromRegions, RegionConv, ToRegions, regions_of

Array = npt.NDArray[Any]
pytestmark = pytest.mark.toolchain
COUNTS = (1, 2, 3, 8)
THREE = Window((3, 3))
PLAIN = ("gcc", "-O1", "-Wno-psabi")
RACES = ("gcc", "-O1", "-g", "-fsanitize=thread")
ZIG = (sys.executable, "-m", "ziglang", "cc", "-O2", "-static", "-target")


@pytest.fixture(autouse=True)
def every_layer_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    for dtype in threads.LEAST_PRODUCTS:
        monkeypatch.setitem(threads.LEAST_PRODUCTS, dtype, 0)
    monkeypatch.setattr(threads, "LEAST_BYTES", 0)


def floats() -> tuple[Graph, dict[str, Array]]:
    """Layer after layer: over regions, padded, convolved, as lists with a residual, each channel alone, pooled, transposed, dense."""
    cut = regions_of(9, 8, 16)
    rng = np.random.default_rng(0)
    sparse = rng.standard_normal((1, 1, 40, 40), np.float32) * (rng.random((1, 1, 40, 40)) < 0.02)
    constants: dict[str, Array] = {
        "w": rng.standard_normal((3, 3, 8, 40), np.float32),
        "r": rng.standard_normal((3, 3, 8, 8), np.float32),
        "l": sparse.astype(np.float32),
        "d": rng.standard_normal((3, 3, 1, 40), np.float32),
        "v": rng.standard_normal((5, 70), np.float32),
        "b": rng.standard_normal(40, np.float32),
        "c": rng.standard_normal(70, np.float32),
        "a": rng.standard_normal(8, np.float32),
    }
    nodes = [
        Node(ToRegions(cut), ("x",), "y01", "to"),
        Node(RegionConv(Window((3, 3), pads=(1, 1, 1, 1)), cut, cut), ("y01", "r", "a"), "y02", "regions"),
        Node(FromRegions(cut), ("y02",), "y0", "from"),
        Node(Pad((0, 1, 1, 0), (0, 1, 1, 0), 0), ("y0",), "p", "pad"),
        Node(Conv(THREE, clamp=Clamp(-1, 9)), ("p", "w", "b"), "y1", "conv"),
        Node(Conv(Window((1, 1))), ("y1", "l", "b", "y1"), "y2", "list"),
        Node(Conv(THREE, 40), ("y2", "d", "b"), "y3", "depthwise"),
        Node(Pool("max", Window((2, 2))), ("y3",), "y4", "pool"),
        Node(Transpose((0, 3, 1, 2)), ("y4",), "y5", "transpose"),
        Node(Dense(), ("y5", "v", "c"), "y", "dense"),
    ]
    graph = Graph.of({"x": Type("float32", (2, 9, 8, 8))}, ["y"], nodes, constants)
    return graph, {"x": rng.standard_normal((2, 9, 8, 8), np.float32)}


def integers() -> tuple[Graph, dict[str, Array]]:
    rng = np.random.default_rng(1)
    constants: dict[str, Array] = {"b": rng.integers(-99, 99, 36).astype(np.int32), "m": np.full(36, 2e-3, np.float32)}
    constants |= {
        "w": rng.integers(-128, 128, (3, 3, 8, 36)).astype(np.int8),
        "d": rng.integers(-128, 128, (3, 3, 1, 36)).astype(np.int8),
    }
    kept = np.zeros((3, 3, 9, 36), bool)
    kept[0, 0, :2] = True
    constants["l"] = (rng.integers(-127, 128, (3, 3, 36, 36)) * kept.repeat(4, 2)).astype(np.int8)
    q = Requantize(3, 5, "uint8", 0, 255)
    nodes = [
        Node(Conv(THREE, requantize=q), ("x", "w", "b", "m"), "y1", "conv"),
        Node(Conv(THREE, 36, requantize=q), ("y1", "d", "b", "m"), "y2", "depthwise"),
        Node(Conv(THREE, requantize=q), ("y2", "l", "b", "m"), "y", "list"),
    ]
    graph = Graph.of({"x": Type("uint8", (2, 9, 16, 8))}, ["y"], nodes, constants)
    return graph, {"x": rng.integers(0, 256, (2, 9, 16, 8)).astype(np.uint8)}


GRAPHS = pytest.mark.parametrize("made", [floats, integers])


def answers(run_c: Callable[..., list[Array]], monkeypatch: pytest.MonkeyPatch, made: Any, *how: Any) -> list[Array]:
    graph, given = made()
    found = []
    for count in COUNTS:
        monkeypatch.setenv("THREADS", str(count))
        found.append(run_c(graph, given, *how)[0])
    return found


@GRAPHS
def test_results_are_the_same_for_any_number_of_threads(
    run_c: Callable[..., list[Array]], same: Any, monkeypatch: pytest.MonkeyPatch, made: Any
) -> None:
    """Under the sanitizers of memory and of undefined behaviour."""
    graph, given = made()
    layers = emitted(graph).facts["layers"]
    assert {layer["shared"] for layer in layers} == {True} and len({layer["kernel"] for layer in layers}) >= 3
    found = answers(run_c, monkeypatch, made)
    (wanted,) = interpret(graph, given).values()
    same(found[0], wanted, "one thread", 1e-5 if made is floats else 0)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@GRAPHS
def test_threads_do_not_race(run_c: Callable[..., list[Array]], monkeypatch: pytest.MonkeyPatch, made: Any) -> None:
    monkeypatch.setenv("TSAN_OPTIONS", "halt_on_error=1")
    first, *others = answers(run_c, monkeypatch, made, RACES)
    for other in others:
        np.testing.assert_array_equal(other, first)


MACHINES = [
    pytest.param("native", ("gcc", "-O1", "-march=native", "-Wno-psabi"), Vectors()),
    pytest.param("qemu-aarch64", (*ZIG, "aarch64-linux-musl", "-mcpu=cortex_a72"), Vectors(4, 28, by_lane=True)),
    pytest.param(
        "qemu-arm", (*ZIG, "arm-linux-musleabihf", "-mcpu=cortex_a7"), Vectors(4, 12, by_lane=True), marks=pytest.mark.nightly
    ),
    pytest.param("qemu-riscv64", (*ZIG, "riscv64-linux-musl"), Vectors(), marks=pytest.mark.nightly),
]


@pytest.mark.parametrize(("machine", "compiler", "vectors"), MACHINES)
@GRAPHS
def test_every_instruction_set_has_threads(
    run_c: Callable[..., list[Array]], monkeypatch: pytest.MonkeyPatch, machine: str, compiler: Any, vectors: Vectors, made: Any
) -> None:
    runner = () if machine == "native" else (machine,)
    if runner and shutil.which(machine) is None:
        pytest.skip(f"no {machine} here")
    first, *others = answers(run_c, monkeypatch, made, compiler, runner, vectors)
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_what_is_small_stays_on_one_thread_and_starts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for dtype in threads.LEAST_PRODUCTS:
        monkeypatch.setitem(threads.LEAST_PRODUCTS, dtype, 1 << 40)
    monkeypatch.setattr(threads, "LEAST_BYTES", 1 << 40)
    program = emitted(floats()[0])
    assert {layer["shared"] for layer in program.facts["layers"]} == {False} and "pthread" not in program.source


def test_a_number_of_threads_that_cannot_be_is_an_error(
    run_c: Callable[..., list[Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, given = integers()
    for count in ("0", "65"):
        monkeypatch.setenv("THREADS", count)
        with pytest.raises(AssertionError, match="4 == 0"):  # what model_init returns becomes the program's exit status 4
            run_c(graph, given, PLAIN)
