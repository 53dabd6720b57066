"""Which weights stay: boolean masks [as the weight], True where a weight is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

Scope = Literal["global", "local"]


def keep_largest(scores: Mapping[str, torch.Tensor], sparsity: float, scope: Scope) -> dict[str, torch.Tensor]:
    """Masks that remove exactly round(sparsity * n) of the smallest scores: of all n together, or of each tensor's own n.

    Equal scores leave in the order of the tensors and of their elements, so the count is exact and the choice repeatable.
    """
    if scope == "local":
        return {name: _keep_largest(score.flatten(), sparsity).view_as(score) for name, score in scores.items()}
    kept = _keep_largest(torch.cat([score.flatten() for score in scores.values()]), sparsity)
    parts = torch.split(kept, [score.numel() for score in scores.values()])
    return {name: part.view_as(score) for (name, score), part in zip(scores.items(), parts, strict=True)}


def apply_masks(module: nn.Module, masks: Mapping[str, torch.Tensor]) -> None:
    """Zero the removed weights of the named layers, in place."""
    with torch.no_grad():
        for name, mask in masks.items():
            weight = module.get_submodule(name).weight
            assert isinstance(weight, torch.Tensor)
            weight.masked_fill_(~mask, 0.0)


def _keep_largest(scores: torch.Tensor, sparsity: float) -> torch.Tensor:
    removed = torch.argsort(scores, stable=True)[: round(sparsity * scores.numel())]
    kept = torch.ones(scores.numel(), dtype=torch.bool)
    kept[removed] = False
    return kept
