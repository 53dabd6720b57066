"""Layers that run as lists of what is not zero: the same answers as the interpreter's, for every size, order and width of vectors."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler import choice, lower_layers
from harness.compiler.choice import ANY_VECTORS, COSTS, Costs, Vectors
from harness.compiler.emit import emitted
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.operators import Clamp, Conv, Dense, Requantize, Window

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
pytestmark = pytest.mark.toolchain
ONE, THREE, STRIDED = Window((1, 1)), Window((3, 3)), Window((2, 3), (2, 2), dilations=(1, 2))
SIZES = [
    (2, 8, 40, ONE, 1),
    (9, 4, 33, THREE, 2),
    (31, 4, 16, THREE, 1),
    (3, 8, 48, THREE, 1),
    (12, 4, 5, STRIDED, 1),
]
"""(width, channels, outputs, window, batch): one place and several tiles; outputs below a block, just one, several and a bit."""


@pytest.fixture(autouse=True)
def lists_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whatever can run as a list does."""
    for dtype in COSTS:
        monkeypatch.setitem(COSTS, dtype, Costs(0, 0))


def sparse(outputs: int, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """A fifth of the blocks of 16 outputs and 4 inputs is kept, and of the first block nothing."""
    kh, kw, channels, _ = shape
    kept = rng.random((kh, kw, channels // 4, -(-outputs // 16))) < 0.2
    if outputs > 16:
        kept[..., 0] = False
    return kept.repeat(4, 2).repeat(16, 3)[..., :outputs]


def layers(*, is_integer: bool) -> tuple[Graph, Arrays]:
    """A layer of each size, every second with a clamp and, of floats, a residual; the last is a dense one."""
    rng = np.random.default_rng(0)
    inputs: dict[str, Type] = {}
    constants: Arrays = {}
    given: Arrays = {}
    nodes = []
    for index, (width, channels, outputs, window, batch) in enumerate([*SIZES, (1, 64, 50, None, 1)]):
        dtype = ("int8" if index % 2 else "uint8") if is_integer else "float32"
        low, high = (0, 256) if dtype == "uint8" else (-128, 128)
        x = (batch, channels) if window is None else (batch, 7, width, channels)
        filters = (1, 1, channels, outputs) if window is None else (*window.kernel, channels, outputs)
        names = [f"x{index}", f"w{index}", f"b{index}"]
        inputs[names[0]] = Type(dtype, x)
        given[names[0]] = rng.integers(low, high, x).astype(dtype) if is_integer else rng.standard_normal(x, np.float32)
        kept = sparse(outputs, rng, filters)
        values = rng.integers(-128, 128, filters).astype(np.int8) if is_integer else rng.standard_normal(filters, np.float32)
        constants[names[1]] = (values * kept).astype(values.dtype).reshape(filters[2:] if window is None else filters)
        requantize, clamp = None, Clamp(-0.5, 2) if index % 2 else Clamp()
        if is_integer:
            constants[names[2]] = rng.integers(-3000, 3000, outputs).astype(np.int32)
            constants[f"m{index}"] = rng.random(outputs, np.float32) * np.float32(0.01)
            names.append(f"m{index}")
            requantize, clamp = Requantize(5, 3, dtype, low + 5, high - 9), Clamp()
        else:
            constants[names[2]] = rng.standard_normal(outputs, np.float32)
            if index % 2 and window is not None:
                made = Type("float32", (batch, *window.places(7, width), outputs))
                inputs[f"r{index}"] = made
                given[f"r{index}"] = rng.standard_normal(made.shape, np.float32)
                names.append(f"r{index}")
        op = Dense(clamp, requantize) if window is None else Conv(window, 1, clamp, requantize)
        nodes.append(Node(op, tuple(names), f"y{index}", f"layer{index}"))
    return Graph.of(inputs, [node.output for node in nodes], nodes, constants), given


def agree(found: list[Array], graph: Graph, given: Arrays, same: Any, what: str, *, is_integer: bool) -> None:
    for index, (got, wanted) in enumerate(zip(found, interpret(graph, given).values(), strict=True)):
        same(got, wanted, f"{what}, layer {index}", 0 if is_integer else 1e-5)


@pytest.mark.parametrize("is_integer", [False, True])
def test_every_layer_is_a_list_and_answers_alike_in_either_order(
    run_c: Callable[..., list[Array]], same: Any, monkeypatch: pytest.MonkeyPatch, is_integer: bool
) -> None:
    """In vectors of this compiler's least width, under the sanitizers, by tile and by block, in large and in small tiles."""
    graph, given = layers(is_integer=is_integer)
    kernel, step = ("hk_q8_list_conv", 4) if is_integer else ("hk_f32_list_conv", 1)
    facts = emitted(graph).facts
    assert facts["kernels"] == {kernel: len(SIZES) + 1}
    for layer in facts["layers"]:
        assert layer["format"] == f"list 16x{step}" and layer["computed"] <= 0.5
    for by_tile, most in ((True, 28), (False, 3)):
        monkeypatch.setattr(lower_layers, "is_by_tile", lambda *_, answer=by_tile: answer)
        monkeypatch.setattr(lower_layers, "most_places", lambda _, answer=most: answer)
        agree(run_c(graph, given), graph, given, same, f"by_tile={by_tile}", is_integer=is_integer)


@pytest.fixture
def kernels_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whatever can run as lists of kernels does."""
    monkeypatch.setitem(COSTS, "float32", Costs(1e6, 1e6, kernels=0))
    monkeypatch.setattr(choice, "KERNEL_SUMS", 1)


@pytest.mark.usefixtures("kernels_are_free")
def test_kernels_of_few_patterns_answer_alike_in_either_order(
    run_c: Callable[..., list[Array]], same: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of whole kernels and of others, in windows with strides and dilations, and in vectors that are narrower than tiles were chosen for."""
    graph, given = layers(is_integer=False)
    forms = [layer["format"] for layer in emitted(graph).facts["layers"]]
    assert sum("pattern" in form for form in forms) >= 3, forms
    for by_tile, most in ((True, 28), (False, 10)):
        monkeypatch.setattr(lower_layers, "is_by_tile", lambda *_, answer=by_tile: answer)
        monkeypatch.setattr(lower_layers, "most_places", lambda _, answer=most: answer)
        agree(run_c(graph, given), graph, given, same, f"by_tile={by_tile}", is_integer=False)


WIDE = pytest.param(16, marks=pytest.mark.nightly)
"""GCC takes long over vectors that are wider than the machine's."""


@pytest.mark.parametrize("lanes", [1, 8, WIDE])
@pytest.mark.parametrize("is_integer", [False, True])
def test_vectors_of_every_width(run_c: Callable[..., list[Array]], same: Any, lanes: int, is_integer: bool) -> None:
    graph, given = layers(is_integer=is_integer)
    found = run_c(graph, given, ("gcc", "-O1", "-Wno-psabi", f"-DHK_LANES={lanes}"), vectors=Vectors(max(lanes, 4), 12))
    agree(found, graph, given, same, f"{lanes} lanes", is_integer=is_integer)


ZIG = (sys.executable, "-m", "ziglang", "cc", "-O3", "-static", "-target")
NEON = Vectors(4, 28, by_lane=True)
MACHINES = [
    pytest.param("native", ("gcc", "-O1", "-march=native"), ANY_VECTORS),
    pytest.param("native", ("gcc", "-O1", "-march=native"), NEON),  # made for a CPU with narrower vectors
    pytest.param("qemu-aarch64", (*ZIG, "aarch64-linux-musl", "-mcpu=cortex_a72"), NEON),
    pytest.param("qemu-aarch64", (*ZIG, "aarch64-linux-musl", "-mcpu=cortex_a76"), NEON, marks=pytest.mark.nightly),
    pytest.param(
        "qemu-arm", (*ZIG, "arm-linux-musleabihf", "-mcpu=cortex_a7"), Vectors(4, 12, by_lane=True), marks=pytest.mark.nightly
    ),
    pytest.param("qemu-riscv64", (*ZIG, "riscv64-linux-musl"), ANY_VECTORS, marks=pytest.mark.nightly),
]


@pytest.mark.parametrize(("machine", "compiler", "vectors"), MACHINES)
def test_every_instruction_set_answers_alike(
    run_c: Callable[..., list[Array]],
    same: Any,
    request: pytest.FixtureRequest,
    machine: str,
    compiler: tuple[str, ...],
    vectors: Vectors,
) -> None:
    """This machine's own with all it has, and others under qemu: blocks are as narrow as their vectors."""
    runner = () if machine == "native" else (machine,)
    if runner and shutil.which(machine) is None:
        pytest.skip(f"no {machine} here")
    for is_integer in (False, True):
        graph, given = layers(is_integer=is_integer)
        agree(run_c(graph, given, compiler, runner, vectors), graph, given, same, machine, is_integer=is_integer)
    request.getfixturevalue("kernels_are_free")
    graph, given = layers(is_integer=False)
    agree(run_c(graph, given, compiler, runner, vectors), graph, given, same, f"{machine}, kernels", is_integer=False)


@pytest.mark.parametrize(("channels", "groups"), [(6, 1), (8, 2)])
def test_what_has_no_list_stays_dense(channels: int, groups: int) -> None:
    """Bytes whose channels are no multiple of 4, and groups."""
    weights = np.zeros((3, 3, channels // groups, 32), np.int8)
    weights[0, 0] = 1
    constants: Arrays = {"w": weights, "b": np.zeros(32, np.int32), "m": np.ones(32, np.float32)}
    node = Node(Conv(THREE, groups, requantize=Requantize(0, 0, "uint8", 0, 255)), ("x", "w", "b", "m"), "y", "c")
    graph = Graph.of({"x": Type("uint8", (1, 30, 30, channels))}, ["y"], [node], constants)
    (layer,) = emitted(graph).facts["layers"]
    assert (layer["kernel"], layer["format"], layer["computed"]) == ("hk_q8_conv", "dense", 1)
    assert layer["density"] == pytest.approx(1 / 9)


def test_infinities_meet_no_weight_that_is_not_there(run_c: Callable[..., list[Array]]) -> None:
    """Zero times infinity is no number: a list skips it, which is what a pruned network means."""
    weights = np.zeros((64, 16), np.float32)
    weights[3] = 1
    graph = Graph.of(
        {"x": Type("float32", (40, 64))},
        ["y"],
        [Node(Dense(), ("x", "w", "b"), "y", "d")],
        {"w": weights, "b": np.zeros(16, np.float32)},
    )
    x = np.full((40, 64), np.inf, np.float32)
    x[:, 3] = 1e-42
    assert emitted(graph).facts["kernels"] == {"hk_f32_list_conv": 1}
    np.testing.assert_array_equal(run_c(graph, {"x": x})[0], np.full((40, 16), 1e-42, np.float32))
