"""Filters in an order in which neighbours need the same input channels, so that dropping 1xN blocks loses little.

The paper sorts filters by their L1 norm (Lin et al. 2022, arXiv:2105.14713, sec. 3.3). Exchanging filters between blocks as long as that
retains more goes on from there.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from harness.compression.numerics.dependency import dependencies
from harness.compression.numerics.groups import Group
from harness.compression.numerics.layers import Layer
from harness.compression.numerics.permute import permute

Matrix = npt.NDArray[np.float64]
Order = npt.NDArray[np.int64]
PROPOSALS = 4000
"""Exchanges tried: all pairs of 64 filters twice; about a second for 512 filters of 512 channels."""


class Moved(NamedTuple):
    """What became of one group of channels."""

    layers: list[str]
    """Pruned layers whose filters they are."""
    before: float
    """Share of those layers' L1 norm that pruning retains in the order the filters had."""
    after: float
    """In the order that was found."""
    taken: bool
    """Only where it retains more."""


def rearrange(
    network: nn.Module,
    names: Container[str],
    example: npt.NDArray[Any],
    n: int,
    sparsity: float,
    exchange: bool,
    rng: np.random.Generator,
) -> list[Moved]:
    """In place, group by group; filters that nothing may move keep their order."""
    found = []
    for group in dependencies(network, example).groups:
        layers, norms = filter_norms(network, group, names)
        if not norms:
            continue
        order = by_norm(norms)
        if exchange:
            order = by_exchange(norms, order, n, sparsity, rng)
        before, after = (retained(norms, tried, n, sparsity) for tried in (np.arange(group.channels), order))
        if after > before:
            permute(network, group, order.tolist())
        whole = sum(float(matrix.sum()) for matrix in norms)
        found.append(Moved(layers, before / whole, after / whole, after > before))
    return found


def filter_norms(module: nn.Module, group: Group, names: Container[str]) -> tuple[list[str], list[Matrix]]:
    """The layers of `names` whose filters make the group's channels, and for each the L1 norm of its kernels [channels, in]."""
    found: dict[str, Matrix] = {}
    for dependency in group.dependencies:
        name, axis = dependency.node
        layer = module.get_submodule(name)
        if axis == "out" and name in names and isinstance(layer, Layer):
            rows = [index for indices in dependency.indices for index in indices]
            weight = layer.weight.detach().double().abs()
            found[name] = weight.reshape(*weight.shape[:2], -1).sum(2)[rows].numpy()
    return list(found), list(found.values())


def retained(norms: Sequence[Matrix], order: Order, n: int, sparsity: float) -> float:
    """L1 norm that stays when each layer loses its round(sparsity * blocks) smallest blocks of n filters in this order."""
    return sum(_kept(_block_sums(matrix[order], n), len(order), n, sparsity) for matrix in norms)


def by_norm(norms: Sequence[Matrix]) -> Order:
    """From the largest L1 norm of a filter on; equal ones keep their order."""
    return np.argsort(-np.sum([matrix.sum(1) for matrix in norms], axis=0), kind="stable")


def by_exchange(norms: Sequence[Matrix], order: Order, n: int, sparsity: float, rng: np.random.Generator) -> Order:
    """From `order` on, filters of different blocks change places wherever that retains more."""
    order, best = order.copy(), retained(norms, order, n, sparsity)
    sums = [_block_sums(matrix[order], n) for matrix in norms]
    for one, other in rng.integers(0, len(order), (PROPOSALS if len(order) > n else 0, 2)):
        if one // n == other // n:
            continue
        changed = [_exchanged(s, matrix, order, one, other, n) for s, matrix in zip(sums, norms, strict=True)]
        now = sum(_kept(s, len(order), n, sparsity) for s in changed)
        if now > best * (1 + 1e-12):
            best, sums = now, changed
            order[one], order[other] = order[other], order[one]
    return order


def _exchanged(sums: Matrix, matrix: Matrix, order: Order, one: int, other: int, n: int) -> Matrix:
    moved = matrix[order[other]] - matrix[order[one]]
    after = sums.copy()
    after[one // n] += moved
    after[other // n] -= moved
    return after


def _block_sums(matrix: Matrix, n: int) -> Matrix:
    """[blocks, in]; the last block may be short."""
    return np.add.reduceat(matrix, np.arange(0, len(matrix), n))


def _kept(sums: Matrix, filters: int, n: int, sparsity: float) -> float:
    """Of all blocks' sums [blocks, in] what stays: blocks leave by their mean, as `OneByN` scores them."""
    heights = np.minimum(n, filters - n * np.arange(len(sums)))
    removed = round(sparsity * sums.size)
    order = np.argpartition((sums / heights[:, None]).ravel(), min(removed, sums.size - 1))
    return float(sums.ravel()[order[removed:]].sum())
