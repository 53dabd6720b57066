from __future__ import annotations

from typing import Any

import pytest

from harness.compiler.ir import Graph, Node, Type
from harness.compiler.lower import lowered
from harness.compiler.operators import Pool, Reduce, Window
from harness.errors import Unsupported


@pytest.mark.parametrize(
    ("op", "dtype", "why"),
    [
        (Pool("max", Window((1, 1))), "int64", "pooling of int64"),
        (Reduce("max", (1,)), "bool", "max of bool"),
        (Pool("max", Window((1, 1))), "float64", "float64 at run time"),
    ],
)
def test_what_has_no_kernel_is_unsupported_by_name(op: Any, dtype: str, why: str) -> None:
    graph = Graph.of({"x": Type(dtype, (1, 2, 2, 1))}, ["y"], [Node(op, ("x",), "y", "here")], {})
    with pytest.raises(Unsupported, match=f"`here`: {why}"):
        lowered(graph, graph.nodes[0])
