"""Which regularity each layer gets, and how much of it stays: one for all, by rules, or what a search chooses from (arXiv:2111.11581, sec. 4).

A latency table says what each choice costs on the device.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from harness.compression.numerics.allocation import allocate
from harness.compression.numerics.batchnorm import reset_batchnorm
from harness.compression.numerics.masks import apply_masks
from harness.compression.numerics.regularity import Block, BlockPunched, Pattern, Regularity, parse
from harness.compression.numerics.scheme import Scheme
from harness.errors import UserError
from harness.latency_table import DENSE, LatencyTable
from harness.search import Cost, Policy, Search

if TYPE_CHECKING:
    from harness.compression.numerics.layers import Layer


Choice = Scheme | None
"""What a layer may get; None: it stays dense."""
SchemeMap = dict[str, Scheme]
"""Layer -> what it gets."""


def mask_of(choice: Choice, weight: torch.Tensor) -> torch.Tensor:
    """bool [as weight], True where it stays."""
    return torch.ones_like(weight, dtype=torch.bool) if choice is None else choice.mask(weight)


def label_of(choice: Choice) -> str:
    """By which a latency table knows it."""
    return DENSE if choice is None else str(choice.regularity)


def uniform_map(layers: Mapping[str, Layer], scheme: str, sparsity: float) -> tuple[SchemeMap, dict[str, str]]:
    """One regularity and strength for every layer that takes it; the others, and why not."""
    regularity = parse(scheme)
    left_alone = {name: reason for name, layer in layers.items() if (reason := regularity.applies_to(layer)) is not None}
    return {name: Scheme(regularity, sparsity) for name in layers if name not in left_alone}, left_alone


def rule_map(
    layers: Mapping[str, Layer], table: LatencyTable, sparsity: float, *, beta: float, is_hard: bool
) -> tuple[SchemeMap, dict[str, str]]:
    """By what a layer is, and the smallest block that takes at most (1 + beta) times what the largest takes.

    Depthwise convolutions stay as they are. 3x3 convolutions get patterns where the data are hard, else punched blocks, as all other
    convolutions do; linear layers get blocks of their matrix. A layer for which the table has none of these stays dense.
    """
    chosen: SchemeMap = {}
    left_alone: dict[str, str] = {}
    for name, layer in layers.items():
        if getattr(layer, "groups", 1) > 1:
            left_alone[name] = "depthwise and grouped convolutions are not pruned by the rules"
            continue
        family = _family(layer, is_hard=is_hard)
        schemes = [s for s in measured(table, name, layer) if s.sparsity == sparsity and isinstance(s.regularity, family)]
        if not schemes:
            left_alone[name] = f"the latency table has no {family.__name__} of sparsity {sparsity:g} that this layer takes"
            continue
        by_size = sorted(schemes, key=lambda scheme: _block_size(scheme.regularity))
        times = [time_of(table, name, layer, scheme) for scheme in by_size]
        chosen[name] = next(s for s, time in zip(by_size, times, strict=True) if time <= (1 + beta) * times[-1])
    return chosen, left_alone


def measured(table: LatencyTable, name: str, layer: Layer) -> list[Scheme]:
    """What the table has of a layer, dense left out, of the regularities that the layer takes."""
    found = (Scheme(parse(timing.scheme), timing.sparsity) for timing in table.layers[name].timings if timing.scheme != DENSE)
    return [scheme for scheme in found if scheme.regularity.applies_to(layer) is None]


def time_of(table: LatencyTable, name: str, layer: Layer, choice: Choice) -> float:
    """Seconds, at the density that the mask really leaves."""
    return table.time_s(name, label_of(choice), density_of(choice, layer.weight.detach()))


def density_of(choice: Choice, weight: torch.Tensor) -> float:
    return _density(mask_of(choice, weight))


def at_densities(layers: Mapping[str, Layer], chosen: SchemeMap) -> dict[str, tuple[str, float]]:
    """As a latency table is asked for a map: (scheme, density that its mask really leaves)."""
    return {name: (label_of(scheme), density_of(scheme, layers[name].weight.detach())) for name, scheme in chosen.items()}


class Space:
    """What a search chooses from: every layer dense or as the table has it; masks and losses by one-shot magnitude."""

    def __init__(self, layers: Mapping[str, Layer], table: LatencyTable) -> None:
        self.weights = {name: layer.weight.detach().clone() for name, layer in layers.items()}
        self.choices: dict[str, tuple[Choice, ...]] = {
            name: (None, *measured(table, name, layer)) for name, layer in layers.items()
        }
        self._masks: dict[tuple[str, Choice], torch.Tensor] = {}
        parts = tuple(
            tuple(table.layer_most_s(name, label_of(choice), _density(self.mask(name, choice))) for choice in choices)
            for name, choices in self.choices.items()
        )
        others = sum(table.layer_most_s(name, DENSE, 1.0) for name in table.layers if name not in layers)
        self.cost = Cost("latency", "s", parts, table.most_rest_s + others)

    def policy(self, chosen: SchemeMap) -> Policy:
        return tuple(choices.index(chosen.get(name)) for name, choices in self.choices.items())

    def chosen(self, policy: Policy) -> SchemeMap:
        """What the policy prunes."""
        named = {name: choices[number] for (name, choices), number in zip(self.choices.items(), policy, strict=True)}
        return {name: choice for name, choice in named.items() if choice is not None}

    def mask(self, name: str, choice: Choice) -> torch.Tensor:
        if (name, choice) not in self._masks:
            self._masks[name, choice] = mask_of(choice, self.weights[name])
        return self._masks[name, choice]

    def losses(self) -> tuple[tuple[float, ...], ...]:
        """[layer][choice] share of the weights' energy (sum of squares) that each choice removes."""
        return tuple(tuple(self._loss(name, choice) for choice in choices) for name, choices in self.choices.items())

    def _loss(self, name: str, choice: Choice) -> float:
        squares = self.weights[name].double().square()
        return float(squares[~self.mask(name, choice)].sum() / squares.sum())


def one_shot(
    network: nn.Module, space: Space, inputs: torch.Tensor, quality: Callable[[nn.Module], float]
) -> Callable[[Policy], float]:
    """Quality of the network pruned by magnitude in one shot, its batch-norm set anew on `inputs` [n, ...]: what stands in for training."""

    def evaluate(policy: Policy) -> float:
        pruned = copy.deepcopy(network)
        apply_masks(pruned, {name: space.mask(name, scheme) for name, scheme in space.chosen(policy).items()})
        reset_batchnorm(pruned, inputs)
        return quality(pruned)

    return evaluate


@dataclass(frozen=True, slots=True)
class Allocation:
    """Dynamic programming over weighted losses, as a searcher: the weights, one a layer, are what is searched (SPDY, arXiv:2201.13096).

    Equal weights first; the first half of the trials draws all anew, the second changes a tenth of the best ones.
    """

    losses: Sequence[Sequence[float]]

    def __call__(self, search: Search, rng: np.random.Generator) -> None:
        goal = search.goal
        layers, budget, half = len(self.losses), goal.limit - goal.cost.fixed, search.left // 2
        best, reached = np.ones(layers), -np.inf
        weights = best
        while search.left:
            policy = allocate(
                [[w * loss for loss in own] for w, own in zip(weights, self.losses, strict=True)], goal.cost.parts, budget
            )
            trial = search.try_(policy)
            if trial.quality > reached:
                best, reached = weights, trial.quality
            if search.left > half:
                weights = rng.random(layers)
            else:
                weights = best.copy()
                weights[rng.choice(layers, -(-layers // 10), replace=False)] = rng.random(-(-layers // 10))


def rule_within(
    layers: Mapping[str, Layer], table: LatencyTable, limit_s: float, *, beta: float, is_hard: bool
) -> tuple[SchemeMap, dict[str, str]]:
    """The rules' map at the mildest strength that was measured and surely keeps the limit. UserError where none does."""
    strengths = sorted({t.sparsity for layer in table.layers.values() for t in layer.timings if t.scheme != DENSE})
    least = table.most_s({})
    for sparsity in strengths:
        found = rule_map(layers, table, sparsity, beta=beta, is_hard=is_hard)
        most_s = table.most_s(at_densities(layers, found[0]))
        if most_s <= limit_s:
            return found
        least = min(least, most_s)
    raise UserError(
        f"no map by the rules is within {limit_s:.4g} s: by the latency table the fastest takes up to {least:.4g} s. "
        f"Measured are sparsities {', '.join(f'{s:g}' for s in strengths)}"
    )


def _family(layer: Layer, *, is_hard: bool) -> type[Regularity]:
    if not isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return Block
    return Pattern if is_hard and tuple(layer.kernel_size) == (3, 3) else BlockPunched


def _block_size(regularity: Regularity) -> int:
    """Weights of a matrix that are decided together."""
    if isinstance(regularity, BlockPunched):
        return regularity.filters * regularity.channels
    return regularity.rows * regularity.columns if isinstance(regularity, Block) else 1


def _density(mask: torch.Tensor) -> float:
    return float(mask.double().mean())
