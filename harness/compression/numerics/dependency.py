"""Which channels of which layers must leave a network together.

Every channel of every tensor is a *slot*. Walking the traced graph, each operation says how the slots of its result follow from those of
its arguments: a convolution makes new ones, batch-norm and ReLU pass them on, an addition makes two one, a concatenation lines them up,
a flattening repeats each. Slots that became one are the channels that can only leave together; those that reach the network's input, its
output, or an operation that is not known here stay. (The idea of coupled groups: Fang et al. 2023, DepGraph, arXiv:2301.12900.)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import torch
from torch import fx, nn
from torch.nn import functional

from harness.compression.numerics.groups import Dependencies, Node, Slots
from harness.compression.numerics.layers import Convolution, kind, shape_of, traced, with_shapes

Rule = Callable[["_Walk", fx.Node], list[int] | None]
"""The slots of a node's result, or None: this use of the operation is not followed."""


def dependencies(module: nn.Module, example: npt.NDArray[Any]) -> Dependencies:
    """The groups of a network in the order of its layers; `example`: [1, *input_shape]."""
    walk = _Walk(with_shapes(traced(module), example))
    for node in walk.graph.graph.nodes:
        walk.visit(node)
    return walk.slots.collect()


@dataclass
class _Walk:
    """One pass over the graph: `values` holds the slots of each tensor's dimension 1, or of its last one where it is in `last`."""

    graph: fx.GraphModule
    slots: Slots = field(default_factory=Slots)
    values: dict[fx.Node, list[int]] = field(default_factory=dict)
    last: set[fx.Node] = field(default_factory=set)
    """What linear layers give on more dimensions than [n, features], and what is made of it value by value: the inside of a transformer."""

    def visit(self, node: fx.Node) -> None:
        if node.op == "output":
            self.fix_arguments(node, "its channels are the network's output")
        elif node.op == "placeholder":
            self.values[node] = self.fixed(node, "its channels are the network's input")
        elif shape_of(node) is not None:
            rule = RULES.get(kind(self.graph, node))
            if rule not in (_linear, _pointwise) and self.last.intersection(node.all_input_nodes):
                rule = None
            followed = rule(self, node) if rule else None
            self.values[node] = self.stop(node) if followed is None else followed
        elif not _asks_size(node):
            self.fix_arguments(node, f"its channels go through `{node.name}`, which is not followed")

    def first(self, node: fx.Node) -> list[int]:
        """Slots of the node's tensor argument."""
        return self.values[node.all_input_nodes[0]]

    def layer(self, node: fx.Node) -> nn.Module:
        return self.graph.get_submodule(str(node.target))

    def fixed(self, node: fx.Node, reason: str) -> list[int]:
        """New slots for the node's result that must stay; none for a result without channels."""
        shape = shape_of(node)
        assert shape is not None
        fresh = self.slots.new(shape[1] if len(shape) > 1 else 0)
        self.slots.fix(fresh, reason)
        return fresh

    def fix_arguments(self, node: fx.Node, reason: str) -> None:
        for argument in node.all_input_nodes:
            self.slots.fix(self.values.get(argument, ()), reason)

    def stop(self, node: fx.Node, reason: str = "it is not followed") -> list[int]:
        """What goes in and what comes out keeps all its channels; a layer's own outputs too."""
        what = f"`{node.target if node.op == 'call_module' else node.name}`"
        self.fix_arguments(node, f"its channels go into {what}: {reason}")
        fresh = self.fixed(node, f"its channels come from {what}: {reason}")
        if node.op == "call_module" and isinstance(self.layer(node), nn.Linear | Convolution):
            self.slots.own(Node(str(node.target), "out"), fresh)
        return fresh

    def transform(self, node: fx.Node) -> list[int]:
        """All outputs from all inputs: the inputs' slots end here, new ones begin."""
        self.slots.own(Node(str(node.target), "in"), self.first(node))
        shape = shape_of(node)
        assert shape is not None
        fresh = self.slots.new(shape[1])
        self.slots.own(Node(str(node.target), "out"), fresh)
        return fresh


def _linear(walk: _Walk, node: fx.Node) -> list[int] | None:
    """On [n, features]; on more dimensions its features are the last one, and followed as long as nothing moves them."""
    (given,) = node.all_input_nodes
    if len(shape_of(node) or ()) == 2:
        return walk.transform(node)
    layer = walk.layer(node)
    assert isinstance(layer, nn.Linear)
    slots = walk.values[given]
    if given not in walk.last:
        reason = f"its channels go into `{node.target}` along another dimension"
        walk.fix_arguments(node, reason)
        slots = walk.slots.new(layer.in_features)
        walk.slots.fix(slots, reason)
    walk.slots.own(Node(str(node.target), "in"), slots)
    fresh = walk.slots.new(layer.out_features)
    walk.slots.own(Node(str(node.target), "out"), fresh)
    walk.last.add(node)
    return fresh


def _convolution(walk: _Walk, node: fx.Node) -> list[int] | None:
    """Dense, or depthwise (each input channel with its own outputs); other groups are not followed."""
    layer = walk.layer(node)
    assert isinstance(layer, Convolution)
    if layer.groups == 1:
        return walk.transform(node)
    if layer.groups != layer.in_channels:
        return walk.stop(node, f"a convolution of {layer.groups} groups is not followed")
    slots = [slot for slot in walk.first(node) for _ in range(layer.out_channels // layer.in_channels)]
    walk.slots.own(Node(str(node.target), "out"), slots)
    return slots


def _batchnorm(walk: _Walk, node: fx.Node) -> list[int]:
    walk.slots.own(Node(str(node.target), "out"), walk.first(node))
    return walk.first(node)


def _keep(walk: _Walk, node: fx.Node) -> list[int] | None:
    """Each channel alone, or laid out flat behind one another: the shapes tell which."""
    before, after = shape_of(node.all_input_nodes[0]), shape_of(node)
    if before is None or after is None or len(after) < 2 or before[0] != after[0] or _written_sizes(node):
        return None
    slots = walk.first(node)
    if after[1] == before[1]:
        return slots
    spread = math.prod(before[2:])
    return [slot for slot in slots for _ in range(spread)] if after == (before[0], before[1] * spread) else None


def _pointwise(walk: _Walk, node: fx.Node) -> list[int] | None:
    """Each value alone, wherever its channels lie."""
    if node.all_input_nodes[0] in walk.last:
        walk.last.add(node)
    return walk.first(node)


def _pad(walk: _Walk, node: fx.Node) -> list[int] | None:
    """Around positions; channels that are added are not followed."""
    return walk.first(node) if shape_of(node.all_input_nodes[0])[:2] == shape_of(node)[:2] else None  # type: ignore[index]


def _reduce(walk: _Walk, node: fx.Node) -> list[int] | None:
    """Mean or sum over positions; over the batch or the channels it is not followed."""
    dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    dims = (dims,) if isinstance(dims, int) else dims
    before = shape_of(node.all_input_nodes[0])
    if before is None or not isinstance(dims, Sequence):
        return None
    over = {dim % len(before) for dim in dims if isinstance(dim, int)}
    return None if over & {0, 1} else walk.first(node)


def _elementwise(walk: _Walk, node: fx.Node) -> list[int] | None:
    """Channel i of the result from channel i of every argument; a broadcast over channels is not followed."""
    after = shape_of(node)
    tensors = [argument for argument in node.all_input_nodes if shape_of(argument) is not None]
    for tensor in tensors:
        shape = shape_of(tensor)
        if tensor not in walk.values or after is None or shape is None or len(shape) != len(after) or shape[1] != after[1]:
            return None
    first, *others = (walk.values[tensor] for tensor in tensors)
    for other in others:
        for one, same in zip(first, other, strict=True):
            walk.slots.tie(one, same)
    return first


def _concatenate(walk: _Walk, node: fx.Node) -> list[int] | None:
    """Along the channels only."""
    tensors, after = node.args[0], shape_of(node)
    dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    if not isinstance(tensors, Sequence) or not isinstance(dim, int) or after is None or dim % len(after) != 1:
        return None
    return [slot for tensor in tensors if isinstance(tensor, fx.Node) for slot in walk.values[tensor]]


def _asks_size(node: fx.Node) -> bool:
    """`x.shape`, `x.size(0)`, an element of them, a sum with them: numbers, which follow the channels by themselves."""
    return node.target in (getattr, "size", "dim") or not any(shape_of(argument) for argument in node.all_input_nodes)


def _written_sizes(node: fx.Node) -> bool:
    """A reshape to sizes that stand in the code (`x.view(-1, 64)`) breaks as soon as channels leave."""
    if node.target not in ("view", "reshape", torch.reshape):
        return False
    sizes = [size for given in node.args[1:] for size in (given if isinstance(given, Sequence) else (given,))]
    return any(isinstance(size, int) and size not in (-1, 1) for size in sizes)


RULES: dict[Any, Rule] = {
    nn.Linear: _linear,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batchnorm),
    **dict.fromkeys((nn.Flatten, torch.flatten, torch.reshape, "flatten", "view", "reshape"), _keep),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d), _keep),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout2d), _keep),
    **dict.fromkeys((functional.max_pool2d, functional.avg_pool2d), _keep),
    **dict.fromkeys((functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d), _keep),
    **dict.fromkeys((nn.Identity, nn.Dropout, functional.dropout, "contiguous", "detach", "clamp"), _pointwise),
    **dict.fromkeys(
        (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh), _pointwise
    ),
    **dict.fromkeys((nn.SiLU, nn.GELU, nn.ELU, torch.relu, torch.sigmoid, torch.tanh), _pointwise),
    **dict.fromkeys(("relu", "relu_", "sigmoid", "tanh"), _pointwise),
    **dict.fromkeys((functional.relu, functional.relu6, functional.leaky_relu, functional.hardswish), _pointwise),
    **dict.fromkeys((functional.silu, functional.gelu), _pointwise),
    **dict.fromkeys((operator.add, operator.iadd, operator.sub, operator.mul, operator.imul, operator.truediv), _elementwise),
    **dict.fromkeys((torch.add, torch.sub, torch.mul, torch.div, "add", "add_", "sub", "mul", "mul_", "div"), _elementwise),
    **dict.fromkeys((torch.cat, torch.concat), _concatenate),
    functional.pad: _pad,
    **dict.fromkeys((torch.mean, torch.sum, "mean", "sum"), _reduce),
}
"""What each operation does with channels. An operation that is not here keeps all channels of what it reads and gives."""
