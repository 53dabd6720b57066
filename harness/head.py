"""A linear head in closed form on a network that others trained: what its features are worth on a data set, without a training to tune."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import BuildError
from harness.train import in_eval_mode

if TYPE_CHECKING:
    import torch
    from torch import nn

    from harness.data import Batch

RELATIVE_RIDGE = 1e-3
"""Of the mean variance of the features."""
BATCH = 64


def fit_head(module: nn.Module, head: str, batch: Batch, classes: int) -> None:
    """Set weight and bias of the linear layer `head` [classes, features], in place, by ridge regression on one-hot labels.

    W = (Xc^T Xc + r I)^-1 Xc^T Yc of centred features and labels (Hoerl, Kennard 1970); scores are then as good as logits for a largest one.
    """
    import torch

    layer = module.get_submodule(head)
    assert isinstance(layer, torch.nn.Linear)
    inputs: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _layer, given: inputs.append(given[0]))
    width = layer.in_features
    features, second = torch.zeros(width, dtype=torch.float64), torch.zeros(width, width, dtype=torch.float64)
    sums = torch.zeros(width, classes, dtype=torch.float64)
    counts = torch.bincount(torch.from_numpy(batch.labels), minlength=classes).double()
    try:
        with in_eval_mode(module), torch.no_grad():
            for start in range(0, len(batch), BATCH):
                module(torch.from_numpy(batch.inputs[start : start + BATCH]))
                (seen,) = (x.double() for x in inputs)
                inputs.clear()
                features += seen.sum(0)
                second += seen.T @ seen
                sums.index_add_(1, torch.from_numpy(batch.labels[start : start + BATCH]), seen.T)
    finally:
        handle.remove()
    mean, share = features / len(batch), counts / len(batch)
    covariance = second / len(batch) - torch.outer(mean, mean)
    ridge = RELATIVE_RIDGE * float(covariance.diagonal().mean())
    if not ridge > 0:
        raise BuildError(f"`{head}` is given the same features for every example; the checkpoint is not this network's")
    weight = torch.linalg.solve(
        covariance + ridge * torch.eye(width, dtype=torch.float64), sums / len(batch) - torch.outer(mean, share)
    )
    with torch.no_grad():
        layer.weight.copy_(weight.T)
        layer.bias.copy_(share - mean @ weight)
