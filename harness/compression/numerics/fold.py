"""Fold batch-norm into the convolution or linear layer before it: the same function in fewer operations (Jacob et al. 2018, sec. 3.2)."""

from __future__ import annotations

import copy

import torch
from torch import nn

from harness.compression.numerics.layers import BatchNorm, Layer, calls, traced


def fold_batchnorm(module: nn.Module) -> nn.Module:
    """A copy in eval mode, of the same class and names: folded layers carry scale and shift, their batch-norms are `nn.Identity`."""
    folded = copy.deepcopy(module)
    for bn_name, layer_name in foldable(module).items():
        layer, bn = folded.get_submodule(layer_name), folded.get_submodule(bn_name)
        assert isinstance(layer, Layer)
        assert isinstance(bn, BatchNorm)
        _fold(layer, bn)
        folded.set_submodule(bn_name, nn.Identity())
    return folded.eval()


def foldable(module: nn.Module) -> dict[str, str]:
    """Batch-norm name -> name of the layer it folds into: the one whose only reader it is, each called once."""
    graph = traced(module)
    pairs = {}
    for node in graph.graph.nodes:
        if node.op != "call_module" or not isinstance(bn := graph.get_submodule(node.target), BatchNorm):
            continue
        source = node.args[0]
        if bn.running_mean is None or source.op != "call_module" or len(source.users) != 1:
            continue
        if (
            isinstance(graph.get_submodule(source.target), Layer)
            and calls(graph, node.target) == calls(graph, source.target) == 1
        ):
            pairs[str(node.target)] = str(source.target)
    return pairs


def _fold(layer: Layer, bn: BatchNorm) -> None:
    """w' = w * g / sqrt(var + eps) by output channel, b' = (b - mean) * g / sqrt(var + eps) + shift; in float64, in place."""
    assert bn.running_mean is not None
    assert bn.running_var is not None
    scale = torch.rsqrt(bn.running_var.double() + bn.eps) * (1.0 if bn.weight is None else bn.weight.double())
    bias = -bn.running_mean.double() if layer.bias is None else layer.bias.double() - bn.running_mean.double()
    shift = 0.0 if bn.bias is None else bn.bias.double()
    weight = layer.weight.double() * scale.view(-1, *[1] * (layer.weight.dim() - 1))
    layer.weight = nn.Parameter(weight.detach().to(layer.weight.dtype))
    layer.bias = nn.Parameter((bias * scale + shift).detach().to(layer.weight.dtype))
