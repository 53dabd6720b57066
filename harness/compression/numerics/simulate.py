"""The integer network simulated in float: every tensor that an integer runtime would store is rounded to its grid."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from harness.compression import Tensors
from harness.compression.numerics.fake_quant import Affine, affine
from harness.compression.numerics.layers import kind, traced

BATCH = 64

CLIPPING: frozenset[Any] = frozenset(
    {nn.ReLU, nn.ReLU6, nn.Hardtanh, functional.relu, functional.relu6, functional.hardtanh, torch.relu, "relu", "relu_", "clamp"}
)
"""Activations that an integer runtime fuses into the operation before them."""

DROPPED: frozenset[Any] = frozenset({nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d})

KEEPING: frozenset[Any] = frozenset(
    {
        nn.Flatten,
        nn.MaxPool1d,
        nn.MaxPool2d,
        nn.MaxPool3d,
        nn.AdaptiveMaxPool2d,
        functional.max_pool2d,
        functional.dropout,
        functional.pad,
    }
    | {torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze, torch.chunk, torch.split}
    | {
        "flatten",
        "view",
        "reshape",
        "permute",
        "transpose",
        "squeeze",
        "unsqueeze",
        "contiguous",
        "detach",
        "chunk",
        "split",
        "size",
    }
    | {operator.getitem, getattr}
)
"""Operations that only pick or move values, or add zeros: their result lies on the grid they are given."""


class FakeQuantize(nn.Module):
    """Round a tensor to its uint8 grid and back."""

    def __init__(self, grid: Affine) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fake_quantize_per_tensor_affine(x, self.grid.scale, self.grid.zero_point, 0, 255)

    def extra_repr(self) -> str:
        return f"scale={self.grid.scale:g}, zero_point={self.grid.zero_point}"


def simulated(module: nn.Module, inputs: torch.Tensor, tensors: Tensors = "all") -> fx.GraphModule:
    """A copy of the module that rounds at its quantization points; ranges are those that `inputs` [n, ...] give in float."""
    graph = _without_identities(traced(module))
    points = quantization_points(graph) if tensors == "all" else linear_inputs(graph)
    for node, (low, high) in observed_ranges(graph, points, inputs).items():
        readers = [reader for reader in node.users if tensors == "all" or kind(graph, reader) is nn.Linear]
        name = f"quantize_{node.name}"
        graph.add_submodule(name, FakeQuantize(affine(low, high)))
        with graph.graph.inserting_after(node):
            rounded = graph.graph.call_module(name, (node,))
        for reader in readers:
            reader.replace_input_with(node, rounded)
    graph.graph.lint()
    graph.recompile()
    return graph.eval()


def quantization_points(graph: fx.GraphModule) -> list[fx.Node]:
    """Nodes whose tensor an integer runtime rounds: the input, and every result, after the activation that is fused into it."""
    points = []
    for node in graph.graph.nodes:
        if node.op in ("output", "get_attr") or kind(graph, node) in KEEPING | CLIPPING:
            continue
        readers = list(node.users)
        fused = node.op != "placeholder" and len(readers) == 1 and kind(graph, readers[0]) in CLIPPING
        points.append(readers[0] if fused else node)
    return points


def linear_inputs(graph: fx.GraphModule) -> list[fx.Node]:
    """Nodes whose tensor goes into a linear layer."""
    layers = [node for node in graph.graph.nodes if kind(graph, node) is nn.Linear]
    return list(dict.fromkeys(given for layer in layers for given in layer.all_input_nodes))


def observed_ranges(graph: fx.GraphModule, points: list[fx.Node], inputs: torch.Tensor) -> dict[fx.Node, tuple[float, float]]:
    """Smallest and largest value of each point over all inputs; nodes that give no float tensor (sizes) are left out."""
    wanted, ranges = set(points), dict[fx.Node, tuple[float, float]]()

    class Observer(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n in wanted and isinstance(value, torch.Tensor) and value.is_floating_point():
                low, high = ranges.get(n, (math.inf, -math.inf))
                ranges[n] = (min(low, float(value.min())), max(high, float(value.max())))
            return value

    with torch.no_grad():
        for start in range(0, len(inputs), BATCH):
            Observer(graph).run(inputs[start : start + BATCH])
    return {node: ranges[node] for node in points if node in ranges}


def _without_identities(graph: fx.GraphModule) -> fx.GraphModule:
    """Folded batch-norms and drop-outs would hide the activation behind a layer."""
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and kind(graph, node) in DROPPED:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()
    return graph
