"""Convolutions over images in regions: the same answers, borders among them, as the interpreter's over images with channels last."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler import choice
from harness.compiler.choice import ANY_VECTORS, COSTS, Costs, Vectors
from harness.compiler.emit import emitted
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.operators import Clamp, Conv, Window
from harness.compiler.regions import FromRegions, RegionConv, ToRegions, regions_of

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
pytestmark = pytest.mark.toolchain
ONE, SAME = Window((1, 1)), Window((3, 3), pads=(1, 1, 1, 1))
SIZES = [
    (20, 8, 5, 7, SAME, 1),
    (7, 7, 9, 16, SAME, 2),
    (14, 14, 3, 9, Window((3, 3), (2, 2), (1, 1, 1, 1)), 1),
    (9, 13, 6, 3, ONE, 1),
    (9, 9, 3, 5, Window((2, 2)), 1),
    (7, 11, 4, 5, Window((2, 1), (2, 2)), 1),
]
"""(height, width, channels, outputs, window, batch): regions that are full, partly beyond the image and not there; one tile and several; an
image whose last row and column are borders only."""


def layers(lanes: int, ways: int = 0) -> tuple[Graph, Arrays, Graph]:
    """A layer of each size, every second with a clamp and a residual, over regions; what is given; and the same with channels last. The
    last layer has no weight left. Kernels keep their weights in so many ways, some of them one weight less; 0: in any."""
    rng = np.random.default_rng(0)
    inputs: dict[str, Type] = {}
    given: Arrays = {}
    constants: Arrays = {}
    nodes, plain = [], []
    for index, (height, width, channels, outputs, window, batch) in enumerate(SIZES):
        x, w, b, r, y = (f"{letter}{index}" for letter in "xwbry")
        rows, columns = window.places(height, width)
        made = regions_of(rows, columns, lanes)
        cut = made.scaled(window.strides[0], height, width)
        inputs |= {x: Type("float32", (batch, height, width, channels)), r: Type("float32", (batch, rows, columns, outputs))}
        given |= {name: rng.standard_normal(inputs[name].shape, np.float32) for name in (x, r)}
        filters = (*window.kernel, channels, outputs)
        kept = rng.random(filters) < (0.3 if index < len(SIZES) - 1 else 0)
        if ways and kept.any() and math.prod(window.kernel) > 1:
            patterns = rng.random((ways, *window.kernel)) < 0.5
            kept = patterns[rng.integers(0, ways, filters[2:])].transpose(2, 3, 0, 1) & (rng.random(filters) < 0.9)
        weights = rng.standard_normal(filters) * kept
        constants |= {w: weights.astype(np.float32), b: rng.standard_normal(outputs, np.float32)}
        clamp = Clamp(-0.5, 2) if index % 2 else Clamp()
        more = [r] if index % 2 else []
        op = RegionConv(window, cut, made, clamp)
        nodes += [Node(ToRegions(cut), (x,), f"{x}.cut", y), Node(ToRegions(made), (r,), f"{r}.cut", y)]
        nodes.append(Node(op, (f"{x}.cut", w, b, *(f"{name}.cut" for name in more)), f"{y}.cut", y))
        nodes.append(Node(FromRegions(made), (f"{y}.cut",), y, y))
        plain.append(Node(Conv(window, 1, clamp), (x, w, b, *more), y, y))
    names = [name for index in range(len(SIZES)) for name in (f"y{index}.cut", f"y{index}")]
    oracle = Graph.of(inputs, names[1::2], plain, constants)
    return Graph.of(inputs, names, nodes, constants), given, oracle


def agree(found: list[Array], graph: Graph, given: Arrays, oracle: Graph, same: Any, what: str) -> None:
    """The results as channels last, and what lies in the regions: borders are what neighbours have, and zeros."""
    for index, (got, wanted) in enumerate(zip(found[1::2], interpret(oracle, given).values(), strict=True)):
        same(got, wanted, f"{what}, layer {index}", 1e-5)
    for name, got, wanted in zip(graph.outputs, found, interpret(graph, given).values(), strict=True):
        same(got, wanted, f"{what}, {name}", 1e-5)


def only(monkeypatch: pytest.MonkeyPatch, filters: int, slab_bytes: int = choice.SLAB_BYTES) -> None:
    """Lists of so many outputs, in slabs of so few bytes."""
    monkeypatch.setitem(COSTS, "float32", Costs(1e9, 1e9, {filters: 1.0}))
    monkeypatch.setattr(choice, "SLAB_BYTES", slab_bytes)
    monkeypatch.setattr(choice, "SLAB_ENTRIES", 0 if slab_bytes < 1000 else 4)


@pytest.mark.parametrize(
    ("filters", "slab_bytes"), [(1, 100), (8, choice.SLAB_BYTES), pytest.param(2, 700, marks=pytest.mark.nightly)]
)
def test_lists_of_every_width_answer_alike_in_one_slab_and_in_many(
    run_c: Callable[..., list[Array]], same: Any, monkeypatch: pytest.MonkeyPatch, filters: int, slab_bytes: int
) -> None:
    """In vectors of this compiler's least width, under the sanitizers."""
    only(monkeypatch, filters, slab_bytes)
    graph, given, oracle = layers(16)
    facts = emitted(graph).facts
    for layer in (found for found in facts["layers"] if found["macs"]):
        assert layer["format"] == f"list {filters}x1 of regions"
        assert layer["computed"] >= layer["density"] - 1e-6
        assert filters > 1 or layer["computed"] == pytest.approx(layer["density"], abs=1e-6)
    agree(run_c(graph, given), graph, given, oracle, same, f"{filters} outputs")


def patterned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels by their patterns wherever they are so few, and single weights elsewhere."""
    monkeypatch.setitem(COSTS, "float32", Costs(1e9, 1e9, {1: 1e6}, patterns=1.0))


@pytest.mark.parametrize("ways", [1, 3])
def test_kernels_of_few_patterns(
    run_c: Callable[..., list[Array]], same: Any, monkeypatch: pytest.MonkeyPatch, ways: int
) -> None:
    """Of windows with every stride and dilation that regions allow, under the sanitizers."""
    patterned(monkeypatch)
    graph, given, oracle = layers(16, ways)
    forms = [found["format"] for found in emitted(graph).facts["layers"] if found["macs"]]
    assert sum("patterns" in form for form in forms) >= 4 and any("patterns" not in form for form in forms)
    agree(run_c(graph, given), graph, given, oracle, same, f"{ways} patterns")


WIDE = pytest.param(16, marks=pytest.mark.nightly)
"""GCC takes long over vectors that are wider than the machine's."""


@pytest.mark.parametrize("lanes", [1, 8, WIDE])
def test_vectors_of_every_width(run_c: Callable[..., list[Array]], same: Any, lanes: int) -> None:
    graph, given, oracle = layers(max(lanes, 4))
    flags = ("gcc", "-O1", "-Wno-psabi", f"-DHK_LANES={lanes}")
    agree(run_c(graph, given, flags, vectors=Vectors(max(lanes, 4), 12)), graph, given, oracle, same, f"{lanes} lanes")


ZIG = (sys.executable, "-m", "ziglang", "cc", "-O3", "-static", "-target")
NEON = Vectors(4, 28, by_lane=True)
MACHINES = [
    pytest.param("native", ("gcc", "-O1", "-march=native"), ANY_VECTORS),
    pytest.param("native", ("gcc", "-O1", "-march=native"), NEON),  # made for a CPU with narrower vectors
    pytest.param("qemu-aarch64", (*ZIG, "aarch64-linux-musl", "-mcpu=cortex_a72"), NEON),
    pytest.param(
        "qemu-arm", (*ZIG, "arm-linux-musleabihf", "-mcpu=cortex_a7"), Vectors(4, 12, by_lane=True), marks=pytest.mark.nightly
    ),
    pytest.param("qemu-riscv64", (*ZIG, "riscv64-linux-musl"), ANY_VECTORS, marks=pytest.mark.nightly),
]


@pytest.mark.parametrize(("machine", "compiler", "vectors"), MACHINES)
def test_every_instruction_set_answers_alike(
    run_c: Callable[..., list[Array]],
    same: Any,
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    compiler: tuple[str, ...],
    vectors: Vectors,
) -> None:
    runner = () if machine == "native" else (machine,)
    if runner and shutil.which(machine) is None:
        pytest.skip(f"no {machine} here")
    graph, given, oracle = layers(vectors.lanes)
    agree(run_c(graph, given, compiler, runner, vectors), graph, given, oracle, same, machine)
    patterned(monkeypatch)
    graph, given, oracle = layers(vectors.lanes, 3)
    agree(run_c(graph, given, compiler, runner, vectors), graph, given, oracle, same, f"{machine}, patterns")
