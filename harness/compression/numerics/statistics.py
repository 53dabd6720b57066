"""Mean and deviation of what a network's normalization layers give, brought back to the dense network's (arXiv:2208.11580, sec. 6).

For networks whose normalization has no running statistics to estimate again (layer norm), and an alternative for those that have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from harness.compression.numerics.layers import BatchNorm

Norm = BatchNorm | nn.LayerNorm


def correct_statistics(network: nn.Module, dense: nn.Module, inputs: torch.Tensor) -> int:
    """Change each norm's scale and shift, in place, so that every channel has on `inputs` [n, ...] the dense outputs' mean and deviation.

    One pass over all inputs at once: each layer sees its predecessors already corrected. Gives how many were; a norm without scale and shift,
    or one that is called more than once, is not.
    """
    wanted: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    norms = {
        name: part
        for name, part in dense.named_modules()
        if isinstance(part, Norm) and part.weight is not None and part.bias is not None
    }

    def observe(name: str, norm: nn.Module, output: torch.Tensor) -> None:
        wanted.setdefault(name, []).append(_statistics(norm, output))

    def correct(name: str, norm: nn.Module, output: torch.Tensor) -> torch.Tensor:
        mean, deviation = _statistics(norm, output)
        target_mean, target_deviation = wanted[name][0]
        ratio = torch.where(deviation > 0, target_deviation / deviation, torch.ones_like(deviation))
        shift = target_mean - mean * ratio
        assert isinstance(norm, Norm)
        norm.weight.mul_(ratio)
        norm.bias.mul_(ratio).add_(shift)
        shape = _channels_shape(norm, output)
        return output * ratio.view(shape) + shift.view(shape)

    _run(dense, list(norms), observe, inputs)
    once = [name for name, found in wanted.items() if len(found) == 1]
    _run(network, once, correct, inputs)
    return len(once)


def _run(network: nn.Module, names: list[str], hook: Callable[[str, nn.Module, torch.Tensor], Any], inputs: torch.Tensor) -> None:
    """In eval mode, with the hook on what each named part gives."""
    handles = [
        network.get_submodule(name).register_forward_hook(lambda part, _given, output, name=name: hook(name, part, output))
        for name in names
    ]
    try:
        with torch.no_grad():
            network.eval()(inputs)
    finally:
        for handle in handles:
            handle.remove()


def _statistics(norm: nn.Module, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[channels] mean and deviation over all else."""
    axis = _axis(norm, output)
    flat = output.movedim(axis, 0).flatten(1) if isinstance(norm, BatchNorm) else output.flatten(axis).flatten(0, -2).T
    return flat.mean(1).view(_own(norm)), flat.std(1, correction=0).view(_own(norm))


def _own(norm: nn.Module) -> torch.Size:
    assert isinstance(norm, Norm)
    return norm.weight.shape


def _axis(norm: nn.Module, output: torch.Tensor) -> int:
    """The first dimension of the channels: 1 after batch norm, the last ones after layer norm."""
    return 1 if isinstance(norm, BatchNorm) else output.dim() - len(_own(norm))


def _channels_shape(norm: nn.Module, output: torch.Tensor) -> list[int]:
    axis, own = _axis(norm, output), _own(norm)
    return [*([1] * axis), *own, *([1] * (output.dim() - axis - len(own)))]
