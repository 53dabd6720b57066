"""Softmax and layer normalization on every instruction set, over rows of all lengths around its vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph, Node, Operator, Type
from harness.compiler.operators import Normalize, Softmax

Array = npt.NDArray[Any]
pytestmark = pytest.mark.toolchain
LENGTHS = (1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 28, 33, 64, 100)


def rows(length: int) -> Array:
    """Plain ones; one that begins with what no exponential has room for; far from 0, where a mean loses digits; and hardly any."""
    rng = np.random.default_rng(length)
    found = rng.standard_normal((5, length)).astype(np.float32)
    found[1] *= 60
    found[2, 0] = 1e15
    found[3] += 3000
    found[4] *= 1e-20
    return found


def test_they_answer_as_the_interpreter(on_machine: Callable[[Graph, dict[str, Array]], list[Array]]) -> None:
    inputs, nodes, given = {}, [], {}
    constants: dict[str, Array] = {}
    for length in LENGTHS:
        x = f"x{length}"
        given[x] = rows(length)
        inputs[x] = Type("float32", (5, length))
        constants |= {f"g{length}": np.linspace(-2, 2, length, dtype=np.float32), f"b{length}": np.ones(length, np.float32)}
        kinds: dict[str, Operator] = {"softmax": Softmax(1), "logarithms": Softmax(1, log=True), "normal": Normalize(1e-5)}
        for kind, op in kinds.items():
            more = (f"g{length}", f"b{length}") if kind == "normal" else ()
            nodes.append(Node(op, (x, *more), f"{kind}{length}", f"{kind}{length}"))
    graph = Graph.of(inputs, [node.output for node in nodes], nodes, constants)
    for got, (name, wanted) in zip(on_machine(graph, given), interpret(graph, given).items(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_spoils_its_own_row_alone(run_c: Callable[..., list[Array]], bad: float) -> None:
    x = np.random.default_rng(0).standard_normal((3, 20)).astype(np.float32)
    x[1, 18] = bad
    graph = Graph.of({"x": Type("float32", x.shape)}, ["y"], [Node(Softmax(1), ("x",), "y", "y")], {})
    (got,) = run_c(graph, {"x": x})
    with np.errstate(invalid="ignore"):
        wanted = interpret(graph, {"x": x})["y"]
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    assert np.isfinite(got[[0, 2]]).all() and np.isfinite(got[1]).all() == (bad == -np.inf)
