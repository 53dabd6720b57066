"""Layers taken apart into thinner ones: linear by singular values, convolutions by Tucker-2 (Kim et al. 2016, arXiv:1511.06530).

W [out, in, kh, kw] ~ sum over r_out, r_in of U_out [out, r_out] core [r_out, r_in, kh, kw] U_in [in, r_in]: a 1x1 convolution, a smaller one,
a 1x1 convolution. Of 1x1 kernels and linear layers it is one truncated singular value decomposition, and two layers.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import nn

from harness.compression.numerics.layers import Layer

By = Literal["macs", "energy"]


class Ranks(NamedTuple):
    inputs: int
    outputs: int
    """The same as `inputs` where there is but one rank."""


def refusal(layer: Layer) -> str | None:
    """Why a layer cannot be taken apart, or None."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        return "a convolution in groups has no inputs in common" if getattr(layer, "groups", 1) > 1 else None
    return "only linear layers and 2-d convolutions are taken apart"


def ranks(layer: Layer, share: float, by: By) -> Ranks | None:
    """`macs`: the largest that leave at most this share of the layer's MACs, in the proportion of its channels; `energy`: the smallest that
    keep at least this share of the sum of squares of each unfolding's singular values. None where that is no less work than the layer.
    """
    whole = _macs(layer, None)
    if by == "energy":
        found = Ranks(
            *(_enough(torch.linalg.svdvals(unfolded.double()), share) for unfolded in _unfoldings(layer.weight.detach()))
        )
        found = found if _is_spatial(layer) else Ranks(found.outputs, found.outputs)
        return found if _macs(layer, found) < whole else None
    outputs, inputs = layer.weight.shape[:2]
    most = max(outputs, inputs) if _is_spatial(layer) else min(outputs, inputs)
    for rank in range(most, 0, -1):
        pair = (
            Ranks(math.ceil(rank * inputs / most), math.ceil(rank * outputs / most)) if _is_spatial(layer) else Ranks(rank, rank)
        )
        if _macs(layer, pair) <= share * whole:
            return pair
    return None


def taken_apart(layer: Layer, rank: Ranks) -> nn.Sequential:
    """Layers that together answer as nearly as the ranks allow; the bias stays with the last."""
    weight = layer.weight.detach().double()
    parts = _tucker(layer, weight, rank) if _is_spatial(layer) else _singular(layer, weight, rank.inputs)
    if layer.bias is not None:
        parts[-1].bias = nn.Parameter(layer.bias.detach().clone())
    return nn.Sequential(*parts)


def _singular(layer: Layer, weight: torch.Tensor, rank: int) -> list[Layer]:
    """Both halves take the square root of the singular values, so that they learn alike."""
    u, s, v = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    root = s[:rank].sqrt()
    first, last = root[:, None] * v[:rank], u[:, :rank] * root
    if isinstance(layer, nn.Linear):
        return [_linear(first), _linear(last)]
    assert isinstance(layer, nn.Conv2d)
    return [_convolution(first[:, :, None, None], layer), _convolution(last[:, :, None, None])]


def _tucker(layer: Layer, weight: torch.Tensor, rank: Ranks) -> list[Layer]:
    """By the singular vectors of both unfoldings (HOSVD; De Lathauwer et al. 2000)."""
    assert isinstance(layer, nn.Conv2d)
    of_inputs, of_outputs = (torch.linalg.svd(unfolded, full_matrices=False)[0] for unfolded in _unfoldings(weight))
    u_in, u_out = of_inputs[:, : rank.inputs], of_outputs[:, : rank.outputs]
    core = torch.einsum("oihw,op,iq->pqhw", weight, u_out, u_in)
    return [_convolution(u_in.T[:, :, None, None]), _convolution(core, layer), _convolution(u_out[:, :, None, None])]


def _unfoldings(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[in, the rest] and [out, the rest]."""
    return weight.transpose(0, 1).flatten(1), weight.flatten(1)


def _linear(weight: torch.Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    made.weight = nn.Parameter(weight.float().contiguous())
    return made


def _convolution(weight: torch.Tensor, like: nn.Conv2d | None = None) -> nn.Conv2d:
    """With the stride, padding and dilation of `like`."""
    outputs, inputs, *kernel = weight.shape
    made = nn.Conv2d(inputs, outputs, (kernel[0], kernel[1]), bias=False)
    if like is not None:
        made = nn.Conv2d(
            inputs,
            outputs,
            (kernel[0], kernel[1]),
            stride=like.stride,  # type: ignore[arg-type]
            padding=like.padding,  # type: ignore[arg-type]
            dilation=like.dilation,  # type: ignore[arg-type]
            padding_mode=like.padding_mode,
            bias=False,
        )
    made.weight = nn.Parameter(weight.float().contiguous())
    return made


def _is_spatial(layer: Layer) -> bool:
    return layer.weight.shape[2:].numel() > 1


def _macs(layer: Layer, rank: Ranks | None) -> int:
    """For each output pixel; None: of the layer as it is. A strided convolution's first part works on more pixels than it gives."""
    outputs, inputs = layer.weight.shape[:2]
    places = layer.weight.shape[2:].numel()
    pixels = math.prod(layer.stride) if isinstance(layer, nn.Conv2d) else 1
    if rank is None:
        return outputs * inputs * places
    if not _is_spatial(layer):
        return rank.inputs * (inputs + outputs)
    return inputs * rank.inputs * pixels + rank.inputs * rank.outputs * places + rank.outputs * outputs


def _enough(singular: torch.Tensor, share: float) -> int:
    kept = singular.square().cumsum(0) / singular.square().sum().clamp(min=1e-30)
    return min(int((kept < share).sum()) + 1, len(singular))
