"""Penalties that push whole units of weights towards zero while a network trains, before it is pruned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from harness.compression.numerics.scheme import Scheme

if TYPE_CHECKING:
    from harness.train import Loss

EPSILON = 1e-6
"""Added to a unit's sum of squares: keeps the penalty of a unit that has vanished finite."""
GROWTH = 10
"""Of ADMM's rho from round to round."""


def weights(network: nn.Module, schemes: Mapping[str, Scheme]) -> dict[str, torch.Tensor]:
    return {name: network.get_parameter(f"{name}.weight") for name in schemes}


def reweighted(network: nn.Module, schemes: Mapping[str, Scheme], strength: float) -> Loss:
    """plain + strength * sum over units of alpha_g ||W_g||^2, alpha_g = 1 / (||W_g||^2 + epsilon) of the weights as they are now.

    The smaller a unit is, the harder it is pushed; refreshed now and then, this approaches counting the units that are not zero
    (Candes, Wakin, Boyd 2008; for blocks: arXiv:2111.11581).
    """
    alphas = {
        name: (strength / (schemes[name].regularity.energy(weight) + EPSILON)).float()
        for name, weight in weights(network, schemes).items()
    }

    def loss(module: nn.Module, _inputs: torch.Tensor, _outputs: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
        trained = weights(module, schemes)
        return plain + torch.stack([(alpha * trained[name].square()).sum() for name, alpha in alphas.items()]).sum()

    return loss


class Admm:
    """min loss(W) with W in the set of pruned weights, by the alternating direction method of multipliers (Zhang et al. 2018, arXiv:1804.03294).

    Z is the projection of W + U, U adds up how far W is from Z in units of 1 / rho: as rho grows, U shrinks (Boyd et al. 2011, sec. 3.4.1).
    One object goes through all rounds; its state follows from the weights at the end of each, so that rounds that are taken up from a
    journal leave the same.
    """

    def __init__(self, network: nn.Module, schemes: Mapping[str, Scheme], rho: float) -> None:
        self.schemes, self.rho = schemes, rho
        self.duals = {name: torch.zeros_like(weight) for name, weight in weights(network, schemes).items()}
        self.targets = self._projected(network)

    def loss(self) -> Loss:
        """plain + rho / 2 ||W - Z + U||^2."""

        def loss(module: nn.Module, _inputs: torch.Tensor, _outputs: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
            trained = weights(module, self.schemes)
            gaps = [(trained[name] - self.targets[name] + dual).square().sum() for name, dual in self.duals.items()]
            return plain + self.rho / 2 * torch.stack(gaps).sum()

        return loss

    def update(self, network: nn.Module) -> float:
        """After a round: new Z and U, and rho ten times as large; how far the weights are from Z, relative to their norm."""
        self.targets = self._projected(network)
        gaps = {name: (weight - self.targets[name]).detach() for name, weight in weights(network, self.schemes).items()}
        self.duals = {name: (self.duals[name] + gap) / GROWTH for name, gap in gaps.items()}
        self.rho *= GROWTH
        gap, norm = (_square(tensors) for tensors in (gaps, weights(network, self.schemes)))
        return math.sqrt(gap / norm)

    def _projected(self, network: nn.Module) -> dict[str, torch.Tensor]:
        sums = {name: weight.detach() + self.duals[name] for name, weight in weights(network, self.schemes).items()}
        return {name: total * self.schemes[name].mask(total) for name, total in sums.items()}


def _square(tensors: Mapping[str, torch.Tensor]) -> float:
    return sum(float(tensor.detach().double().square().sum()) for tensor in tensors.values())
