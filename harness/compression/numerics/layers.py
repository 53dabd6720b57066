"""The layers that have weights to compress, and a traced copy of a network in which one sees how they hang together."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.fx.proxy import TraceError

from harness.errors import BuildError, UserError, nearest

if TYPE_CHECKING:
    from harness.data import DataSpec

Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


def weighted_layers(module: nn.Module) -> dict[str, Layer]:
    """Convolutions [out, in/groups, *kernel] and linear layers [out, in] by dotted name, in the module's order."""
    return {name: part for name, part in module.named_modules() if isinstance(part, Layer)}


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Of each layer's weight, by the layer's dotted name."""
    return {name: tuple(layer.weight.shape) for name, layer in weighted_layers(module).items()}


def without(layers: Mapping[str, Layer], skip: Collection[str]) -> dict[str, Layer]:
    """All but the layers named in `skip`; UserError for a name that is none."""
    for name in skip:
        if name not in layers:
            raise UserError(f"`skip` names `{name}`, which is no layer with weights here.{nearest(name, layers)}")
    return {name: layer for name, layer in layers.items() if name not in skip}


def is_stem(name: str, layer: Layer, layers: Collection[str], spec: DataSpec) -> bool:
    """Whether it is the network's first layer, and a convolution that sees the images themselves."""
    return isinstance(layer, Convolution) and name == next(iter(layers)) and layer.in_channels == spec.input_shape[0]


def is_classifier(name: str, layer: Layer, layers: Collection[str], spec: DataSpec) -> bool:
    """Whether it is the network's last layer, and gives the classes."""
    return isinstance(layer, nn.Linear) and name == list(layers)[-1] and layer.out_features == spec.classes


def batchnorms(module: nn.Module) -> dict[str, BatchNorm]:
    return {name: part for name, part in module.named_modules() if isinstance(part, BatchNorm)}


def traced(module: nn.Module) -> fx.GraphModule:
    """A copy of the module in eval mode as a graph of its calls (torch.fx)."""
    try:
        graph = fx.symbolic_trace(copy.deepcopy(module).eval())
    except (TraceError, TypeError, NotImplementedError) as error:
        raise BuildError(
            f"{type(module).__name__} cannot be traced: {error}. Write its forward without control flow that depends on the data"
        ) from error
    for node in graph.graph.nodes:
        node.type = None  # an annotation that is still text (postponed evaluation) would keep the graph from being pickled
    graph.recompile()
    return graph


def with_shapes(graph: fx.GraphModule, example: npt.NDArray[Any], batch: int = 2) -> fx.GraphModule:
    """The same graph, its nodes annotated with the shapes that `batch` inputs like `example` [1, *input_shape] give them."""
    with torch.no_grad():
        ShapeProp(graph).propagate(torch.from_numpy(np.repeat(example, batch, axis=0)))
    return graph


def shape_of(node: fx.Node) -> tuple[int, ...] | None:
    """Shape of the tensor that a node gives; None where it gives something else."""
    shape = getattr(node.meta.get("tensor_meta"), "shape", None)
    return None if shape is None else tuple(shape)


def calls(graph: fx.GraphModule, name: str) -> int:
    """How often a submodule is called."""
    return sum(node.op == "call_module" and node.target == name for node in graph.graph.nodes)


def kind(graph: fx.GraphModule, node: fx.Node) -> Any:
    """What a node calls: the class of a module, the function, or the method's name."""
    return type(graph.get_submodule(str(node.target))) if node.op == "call_module" else node.target
