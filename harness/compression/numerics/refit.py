"""Least-squares refit of the kept weights: each row makes up, on calibration data, for what was removed from it.

The row w keeps the set S and loses P. With H = X X^T (plus damping) the minimum over the kept weights of
(w - v)^T H (w - v) is v_S = w_S + H_SS^-1 H_SP w_P: the closed form that optimal brain surgery reaches
step by step (Frantar, Singh, Alistarh 2022, arXiv:2208.11580).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

RELATIVE_DAMPING = 1e-2
"""Of the mean of H's diagonal: keeps H_SS regular where calibration inputs are dead or repeat each other."""
BATCH = 64
COLUMN_BYTES = 64 * 2**20
"""Of the unfolded inputs of a layer that are held at once."""


def second_moments(module: nn.Module, names: list[str], inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """H = sum of x x^T [groups, d, d] in float64 over all inputs (and positions) that each named layer sees, d = in/groups * kernel.

    Products are float32, sums over parts of the inputs float64: a rounding error of 1e-6 is far below any damping, and half the time is spent.
    Conv2d and Linear only; `can_refit` says so beforehand.
    """
    moments: dict[str, torch.Tensor] = {}

    def accumulate(name: str, layer: nn.Module, x: torch.Tensor) -> None:
        assert isinstance(layer.weight, torch.Tensor)
        unfolded = layer.weight[0, 0].numel() * x.numel() * x.element_size()
        examples = max(len(x) * COLUMN_BYTES // max(unfolded, 1), 1)
        for part in torch.split(x, examples):
            columns = input_columns(layer, part)
            moment = (columns @ columns.transpose(1, 2)).double()
            moments[name] = moments[name].add_(moment) if name in moments else moment

    hooks = [
        module.get_submodule(name).register_forward_pre_hook(lambda layer, args, name=name: accumulate(name, layer, args[0]))
        for name in names
    ]
    try:
        with torch.no_grad():
            for part in torch.split(inputs, BATCH):
                module(part)
    finally:
        for hook in hooks:
            hook.remove()
    return moments


def can_refit(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (
        isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and layer.padding != "same"
    )


def input_columns(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """[groups, d, n] the vectors that a layer's weight rows are multiplied with; a convolution has one an output position."""
    if isinstance(layer, nn.Linear):
        return x.reshape(1, -1, layer.in_features).transpose(1, 2)
    assert isinstance(layer, nn.Conv2d)
    padding = 0 if isinstance(layer.padding, str) else layer.padding
    columns = functional.unfold(x, layer.kernel_size, layer.dilation, padding, layer.stride)  # [batch, in * kernel, positions]
    batch, width, count = columns.shape
    return (
        columns.reshape(batch, layer.groups, width // layer.groups, count)
        .permute(1, 2, 0, 3)
        .reshape(layer.groups, -1, batch * count)
    )


def refit_rows(rows: torch.Tensor, kept: torch.Tensor, moment: torch.Tensor, damping: float = RELATIVE_DAMPING) -> torch.Tensor:
    """[rows, d] float64 refitted rows; removed entries are 0. `kept` [rows, d] bool, `moment` [d, d], `damping` relative."""
    diagonal = moment.diagonal()
    h = moment + torch.diag(torch.full_like(diagonal, max(damping * float(diagonal.mean()), 1e-12)))
    fitted = torch.zeros_like(rows)
    for row, (weights, keep) in enumerate(zip(rows, kept, strict=True)):
        stays, goes = keep.nonzero().flatten(), (~keep).nonzero().flatten()
        if len(stays) == 0:
            continue
        lost = (h[stays][:, goes] @ weights[goes])[:, None]
        fitted[row, stays] = weights[stays] + torch.cholesky_solve(lost, torch.linalg.cholesky(h[stays][:, stays]))[:, 0]
    return fitted


def refit(module: nn.Module, masks: Mapping[str, torch.Tensor], moments: Mapping[str, torch.Tensor]) -> None:
    """Replace, in place, the weights of every layer that has moments by their refit under its mask. The weights are still the dense ones."""
    with torch.no_grad():
        for name, moment in moments.items():
            weight = module.get_submodule(name).weight
            assert isinstance(weight, torch.Tensor)
            rows = weight.double().flatten(1).chunk(len(moment))
            kept = masks[name].flatten(1).chunk(len(moment))
            fitted = [refit_rows(r, k, h) for r, k, h in zip(rows, kept, moment, strict=True)]
            weight.copy_(torch.cat(fitted).view_as(weight))
