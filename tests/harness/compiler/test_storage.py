from __future__ import annotations

from harness.compiler.expression import Input, apply
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.operators import Map, Reshape
from harness.compiler.storage import stored

X = {"x": Type("float32", (4, 8))}


def unary(source: str, output: str) -> Node:
    return Node(Map(apply("exp", Input(0)), (4, 8)), (source,), output, "")


def binary(a: str, b: str, output: str) -> Node:
    return Node(Map(apply("add", Input(0), Input(1)), (4, 8)), (a, b), output, "")


def test_a_map_overwrites_what_nobody_reads_any_more() -> None:
    found = stored(Graph.of(X, ["y"], [unary("x", "a"), unary("a", "b"), unary("b", "y")], {}))
    assert set(found.holder.values()) == {"x", "y"} and found.plan.arena_bytes == 0  # the output's own memory serves all along


def test_what_is_read_again_is_not_overwritten() -> None:
    found = stored(Graph.of(X, ["y"], [unary("x", "a"), unary("a", "b"), binary("a", "b", "c"), unary("c", "y")], {}))
    assert found.holder["a"] != found.holder["b"]
    assert found.holder["x"] == "x"  # a caller's input is never written to


def test_a_reshape_is_another_name_and_keeps_what_it_names_alive() -> None:
    nodes = [
        unary("x", "a"),
        Node(Reshape((32,)), ("a",), "flat", ""),
        unary("a", "b"),
        Node(Reshape((4, 8)), ("flat",), "again", ""),
        binary("b", "again", "y"),
    ]
    found = stored(Graph.of(X, ["y"], nodes, {}))
    assert found.holder["a"] == found.holder["flat"] == found.holder["again"] != found.holder["b"]


def test_two_outputs_never_share_a_place() -> None:
    nodes = [unary("x", "a"), Node(Reshape((32,)), ("a",), "y", "")]
    found = stored(Graph.of(X, ["a", "y"], nodes, {}))
    assert found.holder["a"] == "a" and found.holder["y"] == "y"


def test_an_output_that_reshapes_an_input_is_a_copy() -> None:
    found = stored(Graph.of(X, ["y"], [Node(Reshape((32,)), ("x",), "y", "")], {}))
    assert found.holder["y"] == "y"
