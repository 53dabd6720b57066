from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.compiler.choice import ANY_VECTORS, COSTS, Costs, Vectors, best_list, lane_cost, takes_lanes
from harness.compiler.emit import emitted
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.lanelist import lane_entries, lanes_of
from harness.compiler.operators import Clamp, Conv, Dense, Window

Array = npt.NDArray[Any]


def grouped(n: int, m: int, entries: int, outputs: int, seed: int = 0) -> Array:
    """[entries, outputs] weights, n of each m neighbouring entries."""
    rng = np.random.default_rng(seed)
    order = rng.random((entries // m, m, outputs)).argsort(1)
    return (rng.uniform(0.5, 1, (entries, outputs)) * (order < n).reshape(entries, outputs)).astype(np.float32)


@given(st.integers(1, 4), st.integers(1, 40), st.floats(0, 1), st.integers(0, 99))
def test_a_list_holds_every_weight_once(groups: int, outputs: int, density: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = (rng.random((16 * groups, outputs)) < density).astype(np.float32) * rng.uniform(0.5, 1, (16 * groups, outputs))
    found = lanes_of(weights, 100 * np.arange(groups))
    again = np.zeros((len(found.starts) - 1, 16 * groups, 16))
    for block, (start, end) in enumerate(zip(found.starts, found.starts[1:], strict=False)):
        for k in range(start, end):
            for lane in range(16):
                again[block, 16 * (found.places[k] // 100) + found.chosen[k, lane], lane] += found.values[k, lane]
    np.testing.assert_array_equal(np.concatenate(list(again), 1)[:, :outputs], weights)
    assert (found.values != 0).any(1).all() and len(found.places) == lane_entries(weights != 0).sum()


def is_by_lanes(mask: np.ndarray) -> bool:
    """Of a 1x1 layer of the mask [channels, outputs]."""
    best = best_list(mask[None, None], "float32", 28, ANY_VECTORS)
    return takes_lanes(mask[None, None], best, ANY_VECTORS)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (2, 8), (4, 16), (1, 16)])
def test_groups_fill_all_lanes(n: int, m: int) -> None:
    mask = grouped(n, m, 64, 32) != 0
    assert lane_entries(mask).tolist() == [[n * 16 // m] * 4] * 2
    assert is_by_lanes(mask)


def test_what_does_not_pay_stays_as_it_is() -> None:
    assert not is_by_lanes(grouped(3, 4, 64, 32) != 0)
    assert not is_by_lanes(np.ones((64, 32), bool))
    blocks = np.repeat(np.random.default_rng(0).random((64, 2)) < 0.25, 16, 1)
    assert not is_by_lanes(blocks)  # whole blocks are empty: a list needs no selection
    assert np.isinf(
        lane_cost(grouped(1, 4, 72, 32).reshape(1, 3, 24, 32) != 0, ANY_VECTORS)
    )  # 16 channels would be of two places
    assert np.isinf(lane_cost(grouped(1, 4, 64, 32)[None, None] != 0, Vectors(8, 12)))


SIZES = [
    (2, 16, 40, Window((1, 1)), 1),
    (9, 32, 33, Window((3, 3)), 2),
    (31, 16, 16, Window((3, 3), (2, 1)), 1),
    (3, 16, 5, Window((2, 3), (2, 2), dilations=(1, 2)), 1),
]
"""(width, channels, outputs, window, batch)"""


@pytest.mark.toolchain
@pytest.mark.parametrize("how", ["sanitized", "4 lanes", "native"])
def test_every_layer_answers_as_the_interpreter_does(
    run_c: Callable[..., list[Array]], same: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setitem(COSTS, "float32", Costs(1e9, 1e9, lanes=0))
    rng, inputs, constants, nodes = np.random.default_rng(0), {}, {}, []
    for i, (width, channels, outputs, window, batch) in enumerate(SIZES):
        entries = window.kernel[0] * window.kernel[1] * channels
        inputs[f"x{i}"] = Type("float32", (batch, 8, max(width, 5), channels))
        constants[f"w{i}"] = grouped(2, 8, entries, outputs).reshape(*window.kernel, channels, outputs)
        constants[f"b{i}"] = rng.standard_normal(outputs, np.float32)
        result = Type("float32", (batch, *window.places(8, max(width, 5)), outputs))
        inputs |= {f"r{i}": result} if i % 2 else {}
        names = (f"x{i}", f"w{i}", f"b{i}", *([f"r{i}"] if i % 2 else []))
        nodes.append(Node(Conv(window, 1, Clamp(-0.5, 2) if i % 2 else Clamp()), names, f"y{i}", f"layer{i}"))
    inputs["d"] = Type("float32", (3, 48))
    constants |= {"wd": grouped(1, 4, 48, 20), "bd": rng.standard_normal(20, np.float32)}
    nodes.append(Node(Dense(), ("d", "wd", "bd"), "yd", "dense"))
    graph = Graph.of(inputs, [node.output for node in nodes], nodes, constants)
    facts = emitted(graph).facts
    assert facts["kernels"] == {"hk_f32_lane_conv": len(SIZES) + 1}
    assert [(layer["format"], layer["computed"]) for layer in facts["layers"]] == [("lanes 16x16", 0.25)] * (len(SIZES) + 1)
    given_inputs = {name: rng.standard_normal(t.shape, np.float32) for name, t in graph.inputs.items()}
    flags = {"native": ("gcc", "-O1", "-march=native"), "4 lanes": ("gcc", "-O1", "-DHK_LANES=4")}
    answers = run_c(graph, given_inputs, flags[how]) if how in flags else run_c(graph, given_inputs)
    for index, (got, wanted) in enumerate(zip(answers, interpret(graph, given_inputs).values(), strict=True)):
        same(got, wanted, f"{how}, layer {index}", 1e-5)
