"""The graph that the passes work on: typed tensors with static shapes, nodes of one output each, constants.

Types are never stated, they follow from the nodes: a Graph that is not valid cannot be made. Images are channels last: [n, h, w, c].
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class InvalidGraph(ValueError):  # noqa: N818 - what it is
    """A node that does not fit its inputs; the message names it. From a pass, it is a bug of the pass."""


@dataclass(frozen=True, slots=True)
class Type:
    """Of a tensor. How integers are to be read (scale, zero point) stands in the operators that read and write them."""

    dtype: str
    """As NumPy names it."""
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return self.elements * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


class Operator(Protocol):
    """A frozen dataclass of `harness/compiler/operators.py`."""

    def infer(self, types: Sequence[Type]) -> Type:
        """Type of the output; ValueError or TypeError where inputs of these types cannot be."""


@dataclass(frozen=True, slots=True)
class Node:
    op: Operator
    inputs: tuple[str, ...]
    output: str
    """The tensor it makes."""
    origin: str
    """Name of the node of the network's file that it comes from."""


@dataclass(frozen=True, slots=True)
class Graph:
    inputs: Mapping[str, Type]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    """In the order they run: each after what it reads."""
    constants: Mapping[str, Array]
    types: Mapping[str, Type]
    """Of every tensor."""

    @staticmethod
    def of(inputs: Mapping[str, Type], outputs: Iterable[str], nodes: Iterable[Node], constants: Mapping[str, Array]) -> Graph:
        """Infers all types; InvalidGraph, naming the node, where there are none. Constants that nothing reads are dropped."""
        graph_nodes, graph_outputs = tuple(nodes), tuple(outputs)
        read = {name for node in graph_nodes for name in node.inputs} | set(graph_outputs)
        kept = {name: array for name, array in constants.items() if name in read}
        types = dict(inputs) | {name: Type(array.dtype.name, array.shape) for name, array in kept.items()}
        for node in graph_nodes:
            if node.output in types:
                raise InvalidGraph(f"node `{node.origin}` makes `{node.output}`, which is there already")
            if missing := [name for name in node.inputs if name not in types]:
                raise InvalidGraph(f"node `{node.origin}` reads {missing}, which nothing before it makes")
            try:
                types[node.output] = node.op.infer([types[name] for name in node.inputs])
            except (TypeError, ValueError, IndexError) as error:
                given = ", ".join(str(types[name]) for name in node.inputs)
                raise InvalidGraph(f"node `{node.origin}`: {type(node.op).__name__} over ({given}): {error}") from error
        if missing := [name for name in graph_outputs if name not in types]:
            raise InvalidGraph(f"outputs {missing} are made by nothing")
        return Graph(dict(inputs), graph_outputs, graph_nodes, kept, types)

    def with_nodes(self, nodes: Iterable[Node], constants: Mapping[str, Array] | None = None) -> Graph:
        """The same inputs and outputs over other nodes; `constants` are added to what is there."""
        found = Graph.of(self.inputs, self.outputs, nodes, {**self.constants, **(constants or {})})
        for name in self.outputs:
            if found.types[name] != self.types[name]:
                raise InvalidGraph(f"output `{name}` was {self.types[name]} and is {found.types[name]}")
        return found

    def readers(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that read each tensor; outputs of the graph have one reader more than they seem to: see `only_reader`."""
        found: dict[str, list[Node]] = {name: [] for name in self.types}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found[name].append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    def makers(self) -> Mapping[str, Node]:
        return {node.output: node for node in self.nodes}


def only_reader(graph: Graph, readers: Mapping[str, tuple[Node, ...]], name: str) -> Node | None:
    """The node that alone reads a tensor, if there is one and the tensor is no output."""
    return readers[name][0] if len(readers[name]) == 1 and name not in graph.outputs else None


def renamed(node: Node, names: Mapping[str, str]) -> Node:
    """The node reading other tensors."""
    return replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))
