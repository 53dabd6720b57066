"""A graph under construction: what the functions for the ONNX operators write to, and their list."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.compiler.expression import Constant, Expression, Input, substituted
from harness.compiler.interpret import computed
from harness.compiler.ir import Array, Node, Operator, Type
from harness.compiler.operators import Map, Reshape, Transpose, dequantizes
from harness.errors import Unsupported


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """A node of the file, its attributes as Python values."""

    kind: str
    """`Conv`; `com.microsoft.Gelu` for one of another domain than ONNX's own."""
    name: str
    inputs: tuple[str, ...]
    """"" for one that is left out."""
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def unsupported(self, why: str) -> Unsupported:
        return Unsupported(f"node `{self.name}` ({self.kind}): {why}")

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] != ""


@dataclass
class Builder:
    """Tensors are named by what ONNX calls them or by numbers of ours. What depends on constants alone is computed at once, except for
    dequantized weights: those stay, so that integer arithmetic can be recognised."""

    opset: int
    types: dict[str, Type] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """Tensor of the file -> ours."""
    origin: str = ""
    """The node of the file under work."""
    static: set[str] = field(default_factory=set)
    """Tensors that no input of the network changes."""

    def constant(self, value: Any, dtype: str | None = None) -> str:
        array = np.ascontiguousarray(np.asarray(value, dtype)).reshape(np.shape(value))
        name = f"${len(self.constants)}"
        self.constants[name], self.types[name] = array, Type(array.dtype.name, array.shape)
        self.static.add(name)
        return name

    def add(self, op: Operator, *inputs: str) -> str:
        """Append a node; the name of what it makes."""
        node = Node(op, inputs, f"%{len(self.nodes)}", self.origin)
        try:
            found = op.infer([self.types[name] for name in inputs])
        except (TypeError, ValueError, IndexError) as error:
            given = ", ".join(str(self.types[name]) for name in inputs)
            raise Unsupported(f"node `{self.origin}`: {type(op).__name__} over ({given}): {error}") from error
        is_static = all(name in self.static for name in inputs)
        if is_static and all(name in self.constants for name in inputs) and not dequantizes(op):
            return self.constant(computed(node, [self.constants[name] for name in inputs]))
        self.nodes.append(node)
        self.types[node.output] = found
        if is_static:
            self.static.add(node.output)
        return node.output

    def map(self, expression: Expression, *inputs: str) -> str:
        """Element by element over inputs that broadcast; constants of one element become part of the expression."""
        try:
            shape = np.broadcast_shapes(*(self.types[name].shape for name in inputs))
        except ValueError as error:
            raise Unsupported(f"node `{self.origin}`: shapes do not broadcast: {error}") from error
        if all(name in self.constants for name in inputs):
            return self.add(Map(expression, shape), *inputs)
        kept: list[str] = []
        parts: list[Expression] = []
        for name in inputs:
            array = self.constants.get(name)
            if array is not None and array.size == 1:
                parts.append(Constant(array.item(), array.dtype.name))
            else:
                parts.append(Input(len(kept)))
                kept.append(name)
        return self.add(Map(substituted(expression, parts), shape), *kept)

    def reshape(self, name: str, shape: Sequence[int]) -> str:
        return name if self.types[name].shape == tuple(shape) else self.add(Reshape(tuple(int(s) for s in shape)), name)

    def transpose(self, name: str, axes: Sequence[int]) -> str:
        return name if list(axes) == list(range(len(axes))) else self.add(Transpose(tuple(axes)), name)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.types[name].shape

    def value(self, node: OnnxNode, name: str) -> Array:
        """Of a constant, or of what only constants make; Unsupported where it is only known at run time."""
        if name not in self.static:
            raise node.unsupported(f"`{name}` is computed at run time, and only constants are supported there")
        if name not in self.constants:
            (maker,) = (made for made in self.nodes if made.output == name)
            return computed(maker, [self.value(node, given) for given in maker.inputs])
        return self.constants[name]


Convert = Callable[[Builder, OnnxNode, Sequence[str]], str | Sequence[str]]
"""(builder, node, our names of its inputs; "" where left out) -> our names of its outputs."""

CONVERT: dict[str, Convert] = {}
"""ONNX operator -> how it is said in ours."""


def converts(*kinds: str) -> Callable[[Convert], Convert]:
    """Enters a function into CONVERT."""

    def enter(function: Convert) -> Convert:
        CONVERT.update(dict.fromkeys(kinds, function))
        return function

    return enter


def axis_of(node: OnnxNode, axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        raise node.unsupported(f"axis {axis} of a tensor of {rank} axes")
    return axis % rank
