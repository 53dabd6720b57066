from __future__ import annotations

import numpy as np
import pytest

from harness.compiler.expression import Input
from harness.compiler.ir import Graph, InvalidGraph, Node, Type, only_reader, renamed
from harness.compiler.operators import Map, Reshape, Transpose

X = {"x": Type("float32", (2, 3))}
FLAT = Node(Reshape((6,)), ("x",), "flat", "flatten")


def test_types_follow_from_nodes_and_unread_constants_are_dropped() -> None:
    graph = Graph.of(X, ["flat"], [FLAT], {"unread": np.zeros(3)})
    assert graph.types == {"x": X["x"], "flat": Type("float32", (6,))} and graph.constants == {}
    assert str(graph.types["flat"]) == "float32[6]" and graph.types["flat"].size_bytes == 24


@pytest.mark.parametrize(
    ("nodes", "outputs", "why"),
    [
        ([FLAT, FLAT], ["flat"], "`flatten` makes `flat`, which is there already"),
        ([Node(Reshape((6,)), ("z",), "flat", "flatten")], ["flat"], r"reads \['z'\]"),
        ([Node(Transpose((0, 0)), ("x",), "t", "turn")], ["t"], r"`turn`: Transpose over \(float32\[2, 3\]\)"),
        ([FLAT], ["missing"], r"\['missing'\] are made by nothing"),
    ],
)
def test_a_graph_that_is_not_valid_cannot_be_made(nodes: list[Node], outputs: list[str], why: str) -> None:
    with pytest.raises(InvalidGraph, match=why):
        Graph.of(X, outputs, nodes, {})


def test_a_pass_may_not_change_an_outputs_type() -> None:
    graph = Graph.of(X, ["flat"], [FLAT], {})
    with pytest.raises(InvalidGraph, match=r"was float32\[6\] and is float32\[3, 2\]"):
        graph.with_nodes([Node(Reshape((3, 2)), ("x",), "flat", "flatten")])


def test_the_only_reader_of_an_output_is_not_alone() -> None:
    copy = Node(Map(Input(0), (6,)), ("flat",), "copy", "")
    for outputs, expected in ((["copy"], copy), (["copy", "flat"], None)):
        graph = Graph.of(X, outputs, [FLAT, copy], {})
        assert only_reader(graph, graph.readers(), "flat") == expected
        assert graph.makers()["copy"] == copy
    assert renamed(copy, {"flat": "x"}).inputs == ("x",)
