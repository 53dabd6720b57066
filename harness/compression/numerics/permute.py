"""Put the channels of a network into another order without changing what it computes.

A channel's order is free where the channel could leave (`dependency.py`): all layers that make, scale or read the channels of a group move
them together, a residual stream with every layer that adds to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from harness.compression.numerics.groups import Dependency, Group
from harness.compression.numerics.layers import BatchNorm, Layer


def permute(module: nn.Module, group: Group, order: Sequence[int]) -> None:
    """In place: channel i of the group becomes what channel order[i] was."""
    assert sorted(order) == list(range(group.channels))
    with torch.no_grad():
        for dependency in group.dependencies:
            layer = module.get_submodule(dependency.node.layer)
            if isinstance(layer, BatchNorm):
                vectors = [layer.weight, layer.bias, layer.running_mean, layer.running_var]
                _reorder(vectors, 0, _sources(dependency, order, layer.num_features))
            else:
                assert isinstance(layer, Layer)
                axis = 0 if dependency.node.axis == "out" else 1
                tensors = [layer.weight, layer.bias] if axis == 0 else [layer.weight]
                _reorder(tensors, axis, _sources(dependency, order, layer.weight.shape[axis]))


def _sources(dependency: Dependency, order: Sequence[int], size: int) -> torch.Tensor:
    """[size] which index of the node's axis comes to each place; those of other groups stay."""
    sources = list(range(size))
    for places, taken in zip(dependency.indices, (dependency.indices[channel] for channel in order), strict=True):
        for place, source in zip(places, taken, strict=True):
            sources[place] = source
    return torch.tensor(sources)


def _reorder(tensors: Sequence[torch.Tensor | None], axis: int, sources: torch.Tensor) -> None:
    for tensor in tensors:
        if tensor is not None:
            tensor.copy_(tensor.index_select(axis, sources))
