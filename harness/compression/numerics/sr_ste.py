"""N:M sparsity in training: sparse forward, dense gradients, pruned weights decay (SR-STE; Zhou et al. 2021, arXiv:2102.04010, eq. 9)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from harness.compression.numerics.regularity import NOfM


class SparseRefined(nn.Module):
    """The n largest of each m weights, chosen anew in every step; the others are zero forward and learn on, drawn towards zero."""

    def __init__(self, n: int, m: int, decay: float) -> None:
        super().__init__()
        self.regularity, self.sparsity, self.decay = NOfM(n, m), 1 - n / m, decay

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        kept = self.regularity.mask(weight, self.sparsity)
        refined: torch.Tensor = _Refined.apply(weight, kept, self.decay)  # type: ignore[no-untyped-call]
        return refined


class _Refined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, kept: torch.Tensor, decay: float) -> torch.Tensor:
        ctx.save_for_backward(weight, kept)
        ctx.decay = decay
        return weight.masked_fill(~kept, 0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """g + decay * (1 - mask) * w."""
        weight, kept = ctx.saved_tensors
        return gradients[0] + ctx.decay * weight.masked_fill(kept, 0.0), None, None
