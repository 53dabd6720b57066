"""Take channels out of a network for good: the layers become smaller, their names and the network's class stay."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from harness.compression.numerics.groups import Edit, Group
from harness.compression.numerics.layers import BatchNorm, Convolution, Layer
from harness.errors import BuildError
from harness.train import in_eval_mode


def l1_norms(module: nn.Module, group: Group) -> torch.Tensor:
    """[channels] sum of |w| over all filters that a channel is made by (Li et al. 2017, arXiv:1608.08710, sec. 3.1)."""
    layers = {name: layer for name in makers(group) if isinstance(layer := module.get_submodule(name), Layer)}
    return channel_sums(group, {name: layer.weight.detach().double().abs() for name, layer in layers.items()})


def makers(group: Group) -> list[str]:
    """The layers whose outputs its channels are."""
    return [dependency.node.layer for dependency in group.dependencies if dependency.node.axis == "out"]


def channel_sums(group: Group, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """[channels] float64: of `values` [out, ...] of the layers that are named, over all filters that a channel is made by."""
    sums = torch.zeros(group.channels, dtype=torch.float64)
    for dependency in group.dependencies:
        name, axis = dependency.node
        if axis == "out" and name in values:
            rows = values[name].double().reshape(len(values[name]), -1).sum(1)
            sums += torch.stack([rows[list(indices)].sum() for indices in dependency.indices])
    return sums


def whole(kept: int, round_to: int, count: int) -> int:
    """So many channels of `count` at least, one at least, and a multiple of `round_to` or all."""
    return min(-(-max(kept, 1) // round_to) * round_to, count)


def smallest(norms: torch.Tensor, ratio: float, round_to: int) -> tuple[int, ...]:
    """The round(ratio * n) channels of smallest norm, fewer where the rest must be a multiple of `round_to`; one at least stays.

    Equal norms leave from the lowest index.
    """
    count = len(norms)
    kept = whole(count - round(ratio * count), round_to, count)
    return tuple(sorted(torch.argsort(norms, stable=True)[: count - kept].tolist()))


def shrunk(module: nn.Module, edits: Iterable[Edit]) -> nn.Module:
    """A copy of the module without the named indices."""
    removed: dict[str, dict[str, set[int]]] = defaultdict(lambda: {"out": set(), "in": set()})
    for edit in edits:
        removed[edit.node.layer][edit.node.axis].update(edit.indices)
    smaller = copy.deepcopy(module)
    for name, axes in removed.items():
        layer = smaller.get_submodule(name)
        if isinstance(layer, BatchNorm):
            _shrink_batchnorm(layer, axes["out"])
        elif isinstance(layer, Convolution):
            _shrink_convolution(layer, axes["out"], axes["in"])
        else:
            assert isinstance(layer, nn.Linear)
            _shrink_linear(layer, axes["out"], axes["in"])
    return smaller


def check_runs(module: nn.Module, original: nn.Module, example: npt.NDArray[Any]) -> None:
    """BuildError unless the module, in eval mode, still answers in the original's shape: its code may rely on sizes a graph does not show."""
    given = torch.from_numpy(np.repeat(example, 2, axis=0))
    try:
        with in_eval_mode(original), torch.no_grad():
            shape, wanted = list(module(given).shape), list(original(given).shape)
    except RuntimeError as error:
        raise BuildError(f"{type(module).__name__} cannot lose channels: its forward relies on their number ({error})") from error
    if shape != wanted:
        raise BuildError(f"{type(module).__name__} cannot lose channels: it answers {shape} instead of {wanted}")


def _shrink_convolution(layer: Convolution, out: set[int], inputs: set[int]) -> None:
    keep_out = _kept(layer.out_channels, out)
    keep_in = _kept(layer.weight.shape[1], inputs)
    if layer.groups > 1:  # depthwise: each input channel goes with its own outputs
        layer.in_channels = layer.groups = len(keep_out) * layer.in_channels // layer.out_channels
    else:
        layer.in_channels = len(keep_in)
    layer.out_channels = len(keep_out)
    layer.weight = _parameter(layer.weight[keep_out][:, keep_in])
    layer.bias = None if layer.bias is None else _parameter(layer.bias[keep_out])


def _shrink_linear(layer: nn.Linear, out: set[int], inputs: set[int]) -> None:
    keep_out, keep_in = _kept(layer.out_features, out), _kept(layer.in_features, inputs)
    layer.out_features, layer.in_features = len(keep_out), len(keep_in)
    layer.weight = _parameter(layer.weight[keep_out][:, keep_in])
    if layer.bias is not None:
        layer.bias = _parameter(layer.bias[keep_out])


def _shrink_batchnorm(layer: BatchNorm, out: set[int]) -> None:
    keep = _kept(layer.num_features, out)
    layer.num_features = len(keep)
    if layer.affine:
        layer.weight, layer.bias = _parameter(layer.weight[keep]), _parameter(layer.bias[keep])
    if layer.running_mean is not None and layer.running_var is not None:
        layer.running_mean, layer.running_var = layer.running_mean[keep].clone(), layer.running_var[keep].clone()


def _kept(size: int, removed: set[int]) -> list[int]:
    return [index for index in range(size) if index not in removed]


def _parameter(tensor: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach().clone())
