from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.lower import lowered
from harness.compiler.operators import Clamp, Conv, Dense, MatMul, Requantize, Window
from harness.errors import Unsupported

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
PLAIN = ("gcc", "-O1", "-Wno-psabi")
"""Vectors wider than the machine's are never passed: every function that has them is inlined."""


def layers(cases: Sequence[tuple[int, int, int, Window, int]], *, is_integer: bool) -> tuple[Graph, Arrays]:
    """One graph with a convolution for each (width, channels, outputs, window, groups), every second with a clamp and, of floats, a residual."""
    rng = np.random.default_rng(0)
    inputs: dict[str, Type] = {}
    given: Arrays = {}
    constants: Arrays = {}
    nodes = []
    for index, (width, channels, outputs, window, groups) in enumerate(cases):
        dtype = ("int8" if index % 2 else "uint8") if is_integer else "float32"
        shape = (2, 5, width, channels)
        limits = (0, 256) if dtype == "uint8" else (-128, 128)
        inputs[f"x{index}"] = Type(dtype, shape)
        given[f"x{index}"] = rng.integers(*limits, shape).astype(dtype) if is_integer else rng.standard_normal(shape, np.float32)
        filters = (*window.kernel, channels // groups, outputs)
        names = [f"x{index}", f"w{index}", f"b{index}"]
        if is_integer:
            constants[f"w{index}"] = rng.integers(-128, 128, filters).astype(np.int8)
            constants[f"b{index}"] = rng.integers(-3000, 3000, outputs).astype(np.int32)
            constants[f"m{index}"] = rng.random(outputs, np.float32) * np.float32(0.01)
            names.append(f"m{index}")
            op = Conv(window, groups, requantize=Requantize(5, 3, dtype, limits[0] + 5, limits[1] - 9))
        else:
            constants[f"w{index}"] = rng.standard_normal(filters, np.float32)
            constants[f"b{index}"] = rng.standard_normal(outputs, np.float32)
            op = Conv(window, groups, Clamp(-0.5, 2) if index % 2 else Clamp())
            if index % 2:
                result = Type("float32", (2, *window.places(5, width), outputs))
                inputs[f"r{index}"] = result
                given[f"r{index}"] = rng.standard_normal(result.shape, np.float32)
                names.append(f"r{index}")
        nodes.append(Node(op, tuple(names), f"y{index}", f"layer{index}"))
    return Graph.of(inputs, [node.output for node in nodes], nodes, constants), given


ONE, THREE, STRIDED = Window((1, 1)), Window((3, 3)), Window((2, 3), (2, 2), dilations=(1, 2))
SIZES = [
    *((1, 3, outputs, ONE, 1) for outputs in (1, 16, 70)),
    *((width, 5, 33, THREE, 1) for width in (3, 9, 16)),
    (31, 2, 17, THREE, 1),
    (9, 4, 6, STRIDED, 2),
    *((width, channels, channels, THREE, channels) for width, channels in ((5, 17), (18, 3))),
]
"""Below a tile, just one, one and a bit, several; outputs below a block, just one, one and a bit, several."""


IS_NIGHTLY = "ASSAY_NIGHTLY" in os.environ
WIDTHS = [1, 4, 8, 16] if IS_NIGHTLY else [1, 4]
"""Of vectors, in floats; GCC takes long over those that are wider than the machine's."""


@pytest.mark.toolchain
@pytest.mark.parametrize("lanes", WIDTHS)
def test_float_layers_of_any_size_in_vectors_of_any_width(run_c: Callable[..., list[Array]], same: Any, lanes: int) -> None:
    graph, given = layers(SIZES, is_integer=False)
    for got, wanted, size in zip(
        run_c(graph, given, (*PLAIN, f"-DHK_LANES={lanes}")), interpret(graph, given).values(), SIZES, strict=True
    ):
        same(got, wanted, str(size), 1e-5)


@pytest.mark.toolchain
@pytest.mark.parametrize("lanes", WIDTHS)
def test_integer_layers_of_any_size_are_exact(run_c: Callable[..., list[Array]], lanes: int) -> None:
    graph, given = layers(SIZES, is_integer=True)
    for got, wanted, size in zip(
        run_c(graph, given, (*PLAIN, f"-DHK_LANES={lanes}")), interpret(graph, given).values(), SIZES, strict=True
    ):
        np.testing.assert_array_equal(got, wanted, err_msg=str(size))


ZIG = (sys.executable, "-m", "ziglang", "cc", "-O2", "-static", "-target")
COMPILERS = {
    "native": (sys.executable, "-m", "ziglang", "cc", "-O2", "-mcpu=native"),
    "qemu-aarch64": (*ZIG, "aarch64-linux-musl", "-mcpu=cortex_a76"),
    "qemu-arm": (*ZIG, "arm-linux-musleabihf", "-mcpu=cortex_a7"),
    "qemu-riscv64": (*ZIG, "riscv64-linux-musl"),
}


@pytest.mark.toolchain
@pytest.mark.parametrize("lanes", WIDTHS)
def test_products_of_matrices_of_any_size(run_c: Callable[..., list[Array]], same: Any, lanes: int) -> None:
    """Rows and columns below a tile, just one, one and a bit, several; depths of one and more."""
    sizes = [(1, 1, 1), (1, 7, 16), (5, 1, 17), (28, 3, 15), (29, 2, 33), (57, 5, 48), (6, 9, 4)]
    rng = np.random.default_rng(0)
    nodes: list[Node] = []
    given: Arrays = {}
    for index, (rows, depth, columns) in enumerate(sizes):
        given |= {f"a{index}": rng.standard_normal((2, rows, depth), np.float32)}
        given |= {f"b{index}": rng.standard_normal((1, depth, columns), np.float32)}
        nodes.append(Node(MatMul(), (f"a{index}", f"b{index}"), f"y{index}", f"product{index}"))
    types = {name: Type("float32", array.shape) for name, array in given.items()}
    graph = Graph.of(types, [node.output for node in nodes], nodes, {})
    found = run_c(graph, given, (*PLAIN, f"-DHK_LANES={lanes}"))
    for got, wanted, size in zip(found, interpret(graph, given).values(), sizes, strict=True):
        same(got, wanted, str(size), 1e-5)


@pytest.mark.toolchain
@pytest.mark.parametrize("machine", COMPILERS if IS_NIGHTLY else ["native"])
def test_every_instruction_set_answers_alike(run_c: Callable[..., list[Array]], same: Any, machine: str) -> None:
    """This machine's own with all it has (AVX-512, dot products), and others under qemu."""
    runner = () if machine == "native" else (machine,)
    if runner and shutil.which(machine) is None:
        pytest.skip(f"no {machine} here")
    for is_integer in (False, True):
        graph, given = layers(SIZES, is_integer=is_integer)
        answers = run_c(graph, given, COMPILERS[machine], runner)
        for got, wanted, size in zip(answers, interpret(graph, given).values(), SIZES, strict=True):
            same(got, wanted, f"{machine} {size}", 0 if is_integer else 1e-5)


@pytest.mark.toolchain
def test_extreme_values(run_c: Callable[..., list[Array]]) -> None:
    """Sums of the largest bytes saturate; infinities stay, and denormals are not lost."""
    k = 300
    constants: Arrays = {
        "w": np.full((k, 17), -128, np.int8),
        "b": np.zeros(17, np.int32),
        "m": np.full(17, 1e-3, np.float32),
        "v": np.eye(4, dtype=np.float32),
        "zeros": np.zeros(4, np.float32),
    }
    requantize = Requantize(-128, 4, "int8", -128, 127)
    nodes = [
        Node(Dense(requantize=requantize), ("x", "w", "b", "m"), "y", "bytes"),
        Node(Dense(), ("z", "v", "zeros"), "f", "floats"),
    ]
    graph = Graph.of({"x": Type("int8", (3, k)), "z": Type("float32", (1, 4))}, ["y", "f"], nodes, constants)
    x = np.array([[127] * k, [-128] * k, [0] * k], np.int8)
    z = np.array([[1e-42, -1e-45, 3e38, -3e38]], np.float32)
    got = run_c(graph, {"x": x, "z": z})
    np.testing.assert_array_equal(got[0], interpret(graph, {"x": x, "z": z})["y"])
    np.testing.assert_array_equal(got[1], z)


def test_weights_that_inputs_change_are_unsupported() -> None:
    types = {"x": Type("float32", (2, 3)), "w": Type("float32", (3, 4))}
    graph = Graph.of(types, ["y"], [Node(Dense(), ("x", "w", "b"), "y", "here")], {"b": np.zeros(4, np.float32)})
    with pytest.raises(Unsupported, match="`here`: its weights"):
        lowered(graph, graph.nodes[0])
