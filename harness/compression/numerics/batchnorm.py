"""Batch-norm statistics after the weights have changed: most of what naive compression loses is lost in them."""

from __future__ import annotations

import torch
from torch import nn

from harness.compression.numerics.layers import batchnorms


def reset_batchnorm(module: nn.Module, inputs: torch.Tensor) -> int:
    """Set every batch-norm's running mean and variance, in place, to those of `inputs` [n, ...]; how many were set.

    One pass over all inputs at once: each layer sees its predecessors already normalised by the new statistics. Leaves eval mode.
    """
    module.eval()
    norms = [bn for bn in batchnorms(module).values() if bn.track_running_stats]
    momenta = [bn.momentum for bn in norms]
    for bn in norms:
        bn.train()
        bn.momentum = 1.0
    with torch.no_grad():
        module(inputs)
    for bn, momentum in zip(norms, momenta, strict=True):
        bn.momentum = momentum
    module.eval()
    return len(norms)
