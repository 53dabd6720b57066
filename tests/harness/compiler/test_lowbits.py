"""Float weights of few values: found, kept as bits, and computed with by tables."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler import lower_layers
from harness.compiler.choice import ANY_VECTORS, Vectors
from harness.compiler.emit import emitted
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.lowbits import Levels, codes, levels_of, pays
from harness.compiler.operators import Clamp, Dense

Array = npt.NDArray[Any]


def quantized(inputs: int, outputs: int, bits: int, seed: int = 0) -> Array:
    """Every output uses all levels of a grid of its own, which is not around zero."""
    rng = np.random.default_rng(seed)
    level = rng.integers(0, 2**bits, (inputs, outputs))
    level[0], level[-1] = 0, 2**bits - 1
    return (level * (rng.random(outputs) + 0.1) - rng.random(outputs)).astype(np.float32)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_a_grid_is_found_and_gives_the_weights_back(bits: int) -> None:
    weights = quantized(40, 7, bits)
    found = levels_of(weights)
    assert found is not None and found.bits == bits
    back = found.step * (found.level - (2**bits - 1) / 2) + found.middle
    np.testing.assert_allclose(back, weights, atol=1e-6 * np.abs(weights).max())


def test_ternary_weights_and_outputs_of_one_value_have_levels() -> None:
    weights = np.array([[0.3, 0, 5], [0, 0, 5], [-0.3, 0, 5]], np.float32)
    found = levels_of(weights)
    assert found is not None and found.bits == 2
    np.testing.assert_array_equal(found.level, [[2, 0, 0], [1, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("spoiled", [np.inf, np.nan, 0.123])
def test_weights_off_the_grid_have_none(spoiled: float) -> None:
    weights = quantized(40, 7, 4)
    weights[3, 2] = spoiled
    assert levels_of(weights) is None
    assert levels_of(np.random.default_rng(0).standard_normal((40, 7)).astype(np.float32)) is None


def test_codes_are_the_bits_of_eight_inputs_part_by_part() -> None:
    rng = np.random.default_rng(0)
    inputs, outputs, bits = 1029, 18, 3
    level = rng.integers(0, 2**bits, (inputs, outputs)).astype(np.uint8)
    packed = codes(Levels(bits, level, np.ones(outputs, np.float32), np.zeros(outputs, np.float32)))
    assert packed.nbytes == 2 * 129 * bits * 16
    at = 0
    for start in range(0, inputs, 512):
        eights = -(-min(512, inputs - start) // 8)
        for block in range(2):
            for eight in range(eights):
                for bit in range(bits):
                    for lane in range(16):
                        for i in range(8):
                            k, o = start + 8 * eight + i, 16 * block + lane
                            wanted = level[k, o] >> bit & 1 if k < inputs and o < outputs else 0
                            assert packed[at + lane] >> i & 1 == wanted
                    at += 16


@pytest.mark.parametrize(
    ("bits", "size", "places", "lanes", "wanted"),
    [(1, 2048, 1, 16, True), (4, 2048, 1, 16, True), (4, 2048, 1, 8, False), (4, 1024, 16, 16, False), (1, 2048, 1, 4, False)],
)
def test_it_pays_where_reading_weights_takes_the_time(bits: int, size: int, places: int, lanes: int, wanted: bool) -> None:
    level = np.full((size, size), 2**bits - 1, np.uint8)
    found = Levels(bits, level, np.ones(size, np.float32), np.zeros(size, np.float32))
    assert pays(found, places, Vectors(lanes)) == wanted


@pytest.mark.parametrize(
    ("inputs", "outputs", "places", "bits"),
    [(1024, 16, 8, 1), (1024, 64, 8, 1), (256, 128, 16, 1), (1024, 64, 1, 4), (2, 256, 1, 1)],
)
def test_what_uses_its_tables_seldom_stays(inputs: int, outputs: int, places: int, bits: int) -> None:
    """Layers that were measured at 0.24 to 0.84 of the speed of products: tables are made for each place, in eights of inputs."""
    level = np.full((inputs, outputs), 2**bits - 1, np.uint8)
    found = Levels(bits, level, np.ones(outputs, np.float32), np.zeros(outputs, np.float32))
    assert not pays(found, places, ANY_VECTORS)


def test_vectors_that_cannot_look_up_multiply() -> None:
    found = Levels(1, np.ones((2048, 2048), np.uint8), np.ones(2048, np.float32), np.zeros(2048, np.float32))
    assert pays(found, 1, Vectors(8, 12)) and not pays(found, 1, Vectors(8, 12, can_look_up=False))


def test_weights_that_are_mostly_zero_are_left_to_lists() -> None:
    level = np.ones((2048, 2048), np.uint8)
    level[:100] = 2
    found = Levels(2, level, np.ones(2048, np.float32), np.full(2048, 0.5, np.float32))  # 0 and 1
    assert not pays(found, 1, ANY_VECTORS)


SIZES = ((1, 8, 16, 1), (3, 5, 33, 2), (2, 521, 17, 3), (2, 1030, 1040, 1), (1, 77, 40, 4))
"""(rows, inputs, outputs, bits): a table and less, several parts of inputs, several groups of blocks."""


def layers() -> tuple[Graph, dict[str, Array]]:
    """Every second with a clamp and a residual."""
    rng = np.random.default_rng(0)
    inputs: dict[str, Type] = {}
    constants: dict[str, Array] = {}
    nodes = []
    for index, (rows, depth, outputs, bits) in enumerate(SIZES):
        names = [f"x{index}", f"w{index}", f"b{index}"]
        inputs[names[0]] = Type("float32", (rows, depth))
        constants[names[1]] = quantized(depth, outputs, bits, index)
        constants[names[2]] = rng.standard_normal(outputs, np.float32)
        if index % 2:
            names.append(f"r{index}")
            inputs[names[3]] = Type("float32", (rows, outputs))
        nodes.append(Node(Dense(Clamp(-0.5, 9) if index % 2 else Clamp()), tuple(names), f"y{index}", f"layer{index}"))
    given = {name: rng.standard_normal(found.shape).astype(np.float32) for name, found in inputs.items()}
    return Graph.of(inputs, [node.output for node in nodes], nodes, constants), given


ZIG = (sys.executable, "-m", "ziglang", "cc", "-O2", "-static", "-target")
MACHINES = [
    pytest.param("", ("gcc", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")),
    pytest.param("", ("gcc", "-O1", "-march=native", "-Wno-psabi")),
    pytest.param("", ("gcc", "-O1", "-mavx2", "-mfma", "-Wno-psabi")),
    pytest.param("qemu-aarch64", (*ZIG, "aarch64-linux-musl", "-mcpu=cortex_a72"), marks=pytest.mark.nightly),
    pytest.param("qemu-arm", (*ZIG, "arm-linux-musleabihf", "-mcpu=cortex_a7"), marks=pytest.mark.nightly),
    pytest.param("qemu-riscv64", (*ZIG, "riscv64-linux-musl"), marks=pytest.mark.nightly),
]


@pytest.mark.toolchain
@pytest.mark.parametrize(("machine", "compiler"), MACHINES, ids=["sanitized", "native", "avx2", "aarch64", "armv7", "riscv64"])
def test_tables_answer_as_products_do(
    run_c: Callable[..., list[Array]], same: Any, monkeypatch: pytest.MonkeyPatch, machine: str, compiler: tuple[str, ...]
) -> None:
    if machine and shutil.which(machine) is None:
        pytest.skip(f"no {machine} here")
    if "-mavx2" in compiler and "avx2" not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip("no avx2 here")
    monkeypatch.setattr(lower_layers, "pays", lambda *_: True)
    graph, given = layers()
    assert emitted(graph).facts["kernels"] == {"hk_f32_lut_dense": len(SIZES)}
    for got, wanted, size in zip(
        run_c(graph, given, compiler, (machine,) if machine else ()), interpret(graph, given).values(), SIZES, strict=True
    ):
        same(got, wanted, str(size), 1e-5)


def test_a_large_dense_layer_of_signs_is_chosen_to_run_so() -> None:
    weights = np.sign(np.random.default_rng(0).standard_normal((1024, 1024))).astype(np.float32)
    nodes = [Node(Dense(), ("x", "w", "b"), "y", "d")]
    graph = Graph.of({"x": Type("float32", (1, 1024))}, ["y"], nodes, {"w": weights, "b": np.zeros(1024, np.float32)})
    program = emitted(graph)
    (layer,) = program.facts["layers"]
    assert (layer["kernel"], layer["format"], layer["computed"]) == ("hk_f32_lut_dense", "lut 1 bit", 1)
    assert program.facts["weights_bytes"] <= 1024 * 1024 // 8 + 3 * 4096 + 256
