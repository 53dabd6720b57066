from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler.emit import Blob, emitted
from harness.compiler.frontend.network import load_network
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph
from harness.compiler.pipeline import optimized

Array = npt.NDArray[Any]
GOLDEN = Path(__file__).with_name("golden_model.c")


def small(network: Callable[..., Path]) -> Path:
    """A padded convolution with a residual and ReLU, a mean over all places, a dense layer."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((3, 3, 3, 3), np.float32),
        "v": rng.standard_normal((3, 5), np.float32),
        "b": rng.standard_normal(5, np.float32),
    }
    nodes: list[Any] = [
        ("Conv", ["x", "w"], ["c"], {"pads": [1, 1, 1, 1]}),
        ("Add", ["c", "x"], ["a"], {}),
        ("Relu", ["a"], ["r"], {}),
        ("GlobalAveragePool", ["r"], ["p"], {}),
        ("Flatten", ["p"], ["f"], {}),
        ("Gemm", ["f", "v", "b"], ["y"], {}),
    ]
    return network(nodes, {"x": ("float32", [1, 3, 4, 4])}, weights)


@pytest.mark.toolchain
def test_the_generated_program_answers_as_the_interpreter(
    network: Callable[..., Path], run_c: Callable[..., list[Array]], inputs_of: Callable[..., Any], same: Callable[..., None]
) -> None:
    graph = optimized(load_network(small(network)))
    given = inputs_of(graph)
    (wanted,) = interpret(graph, given).values()
    same(run_c(graph, given)[0], wanted, "C", 1e-5)


def test_the_generated_program_reads_as_the_golden_one(network: Callable[..., Path], request: pytest.FixtureRequest) -> None:
    """Without the kernels, which are files of their own."""
    source = emitted(optimized(load_network(small(network)))).source
    assert source == emitted(optimized(load_network(small(network)))).source
    own = source[source.index("static const int64_t model_inputs_shape_0") :]
    if request.config.getoption("--update"):
        GOLDEN.write_text(own)
    assert own == GOLDEN.read_text()


def test_facts_count_kernels_macs_and_memory(network: Callable[..., Path]) -> None:
    made = emitted(optimized(load_network(small(network))))
    assert made.facts["kernels"]["hk_f32_conv"] == 2
    assert made.facts["macs"] == 4 * 4 * 3 * 27 + 15 and made.facts["integer_macs"] == 0
    assert made.facts["arena_live_bytes"] <= made.facts["arena_bytes"] <= made.facts["arena_naive_bytes"]
    assert made.facts["weights_bytes"] == len(made.weights)


@pytest.mark.toolchain
def test_names_cannot_break_out_of_the_program(
    network: Callable[..., Path], run_c: Callable[..., list[Array]], inputs_of: Callable[..., Any]
) -> None:
    name = 'a"; */ } ??/ \\ \n é'
    path = network([("Relu", [name], ["y" + name], {})], {name: ("float32", [3])}, outputs=["y" + name])
    graph = optimized(load_network(path))
    given = inputs_of(graph)
    np.testing.assert_array_equal(run_c(graph, given)[0], np.maximum(given[name], 0))


@pytest.mark.toolchain
def test_outputs_that_are_inputs_constants_or_twice_the_same(
    network: Callable[..., Path], run_c: Callable[..., list[Array]], inputs_of: Callable[..., Any]
) -> None:
    nodes: list[Any] = [
        ("Identity", ["x"], ["same"], {}),
        ("Relu", ["x"], ["r"], {}),
        ("Identity", ["r"], ["again"], {}),
        ("Reshape", ["r", "shape"], ["flat"], {}),
        ("Identity", ["k"], ["constant"], {}),
        ("Reshape", ["x", "shape"], ["view"], {}),
    ]
    constants = {"shape": np.array([6], np.int64), "k": np.arange(3, dtype=np.int64)}
    outputs = ["same", "r", "again", "flat", "constant", "view"]
    graph = optimized(load_network(network(nodes, {"x": ("float32", [2, 3])}, constants, outputs)))
    given = inputs_of(graph)
    relu = np.maximum(given["x"], 0)
    wanted = [given["x"], relu, relu, relu.ravel(), constants["k"], given["x"].ravel()]
    for got, reference in zip(run_c(graph, given), wanted, strict=True):
        np.testing.assert_array_equal(got, reference)


def test_a_blob_keeps_equal_arrays_once_and_aligned() -> None:
    blob = Blob()
    first, second = np.arange(3, dtype=np.float32), np.arange(5, dtype=np.int8)
    places = [blob.place(first), blob.place(second), blob.place(first.copy())]
    assert places == [0, 64, 0] and len(blob.content) == 69


@pytest.mark.toolchain
def test_facts_are_json_in_the_program_too(network: Callable[..., Path], tmp_path: Path) -> None:
    source = emitted(optimized(load_network(small(network)))).source
    line = next(line for line in source.splitlines() if line.startswith('    "') and "arena" in line)
    text = line.strip().removesuffix(";")[1:-1].encode().decode("unicode_escape")
    assert json.loads("{" + text)["kernels"]["hk_f32_conv"] == 2


def test_a_graph_without_layers_is_a_program(network: Callable[..., Path]) -> None:
    graph = Graph.of({}, [], [], {})
    assert "const int model_layer_count = 0;" in emitted(graph).source
