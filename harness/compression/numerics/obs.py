"""Exact optimal brain surgery by rows: which weights leave, one after another, and what the others make of it (arXiv:2208.11580, sec. 4).

A layer's rows w [d] share the Hessian H = X X^T of the squared error of the layer's outputs. A *unit* is what leaves together: one weight, or
a block of neighbouring ones, of one row or of a *bundle* of neighbouring rows. Rows that lose the same columns have the same H^-1 all the way,
so a bundle is as a row whose losses are the sums of its rows'.

The loops choose with H^-1 in float32; the weights that stay are then solved for in float64 from the set that
left: w - H^-1[:,P] (H^-1[P,P])^-1 w_P, which is where the steps lead, too.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from harness.compression.numerics.native import by_rows, compiled_loops, pointer
from harness.compression.numerics.regularity import BlockPunched, NOfM, Regularity
from harness.compression.numerics.removable import check_removable
from harness.errors import BuildError

LOOPS = Path(__file__).with_suffix(".c")
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]


class Hessian(NamedTuple):
    """Of one row: the layer's, or its group's, all rows of which share it."""

    matrix: torch.Tensor
    """[d, d] float64, damped."""
    inverse: torch.Tensor
    """[d, d] float64."""

    def scale(self) -> float:
        """Mean of the diagonal: the loops see H / scale, so that float32 neither overflows nor vanishes."""
        return float(self.matrix.diagonal().mean())


class Units(NamedTuple):
    """What leaves together in a row whose columns are put in the order `columns`."""

    columns: torch.Tensor
    """[d] int64: which column of the weight comes first, second ..."""
    start: Integers
    """[units + 1] the first column, in that order, of each unit."""
    group: Integers
    """[units]"""
    limit: Integers
    """[groups] units that a group loses at most."""
    bundle: int
    """Neighbouring rows that lose the same units; the last bundle may be smaller."""


class Trace(NamedTuple):
    """In which order units leave each bundle of rows, if it goes on long enough."""

    order: torch.Tensor
    """[bundles, steps] int64 unit that leaves at each step."""
    loss: torch.Tensor
    """[bundles, steps] float64: half the growth of the rows' squared output error at each step."""


def hessian(moment: torch.Tensor, damping: float) -> Hessian:
    """Of sum x x^T [d, d]; `damping` is a share of the mean of its diagonal. Inputs that are always zero are damped like any other."""
    diagonal = moment.diagonal()
    matrix = moment + torch.diag(torch.full_like(diagonal, max(damping * float(diagonal.mean()), 1e-12)))
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if int(failed):
        raise BuildError(f"the layer's inputs depend on each other too closely to be told apart; raise `damping` ({damping:g})")
    return Hessian(matrix, torch.cholesky_inverse(factor))


def units(regularity: Regularity, shape: torch.Size) -> Units:
    """Of a weight [out, in/groups, *kernel]; UserError for a regularity that surgery cannot work on."""
    check_removable(regularity)
    if isinstance(regularity, NOfM):
        groups = _numbers(BlockPunched(1, regularity.m), shape)
        limit = np.full(int(groups.max()) + 1, regularity.m - regularity.n, np.int32)
        single = np.arange(len(groups) + 1, dtype=np.int32)
        return Units(torch.arange(len(groups)), single, groups.numpy().astype(np.int32), limit, 1)
    numbers = _numbers(regularity, shape)
    sizes = torch.bincount(numbers)
    start = np.concatenate([[0], sizes.cumsum(0).numpy()]).astype(np.int32)
    one_group, limit = np.zeros(len(sizes), np.int32), np.array([len(sizes)], np.int32)
    return Units(torch.argsort(numbers, stable=True), start, one_group, limit, regularity.tile.outputs or 1)


def _numbers(regularity: Regularity, shape: torch.Size) -> torch.Tensor:
    """[d] int64: which unit of its row each weight belongs to."""
    row = torch.Size((1, *shape[1:]))
    scores = regularity.scores(torch.ones(row))
    return regularity.spread(torch.arange(scores.numel()).view_as(scores), row).flatten()


def traces(rows: torch.Tensor, h: Hessian, of: Units, steps: int) -> Trace:
    """Remove `steps` units from each bundle of rows [rows, d] float64, always the one that costs the least then, and go on with the rows made up."""
    inverse = (h.inverse * h.scale()).float()[of.columns][:, of.columns].contiguous().numpy()
    weight = rows.float()[:, of.columns].contiguous().numpy()
    bundles = -(-len(rows) // of.bundle)
    order, loss = np.zeros((bundles, steps), np.int32), np.zeros((bundles, steps), np.float32)
    loops = compiled_loops(LOOPS)

    def prune(part: slice) -> int:
        own = weight[part.start * of.bundle : part.stop * of.bundle]
        if loops is None:
            return _prune(own, inverse, of, order[part], loss[part])
        sizes = (len(own), of.bundle, weight.shape[1], len(of.group), steps, len(of.limit))
        floats = pointer(own, np.float32), pointer(inverse, np.float32)
        integers = tuple(pointer(array, np.int32) for array in (of.start, of.group, of.limit, order[part]))
        return int(loops.prune_rows(*sizes, *floats, *integers, pointer(loss[part], np.float32)))

    by_rows(prune, bundles, "optimal brain surgery")
    return Trace(torch.from_numpy(order).long(), torch.from_numpy(loss).double() * h.scale())


def kept_units(found: Trace, count: int, removed: int) -> torch.Tensor:
    """bool [bundles, count]: the `removed` smallest losses of all bundles say how many units each gives up, its trace says which.

    Equal losses leave in the order of the bundles. (OBC, sec. 4.2: the steps of a row are only ever taken in their order.)
    """
    smallest = torch.argsort(found.loss.flatten(), stable=True)[:removed]
    counts = torch.bincount(smallest // found.loss.shape[1], minlength=len(found.loss))
    leaves = torch.arange(found.loss.shape[1]) < counts[:, None]
    kept = torch.ones(len(found.loss), count, dtype=torch.bool)
    bundles, steps = leaves.nonzero(as_tuple=True)
    kept[bundles, found.order[bundles, steps]] = False
    return kept


def kept_weights(kept: torch.Tensor, of: Units, rows: int) -> torch.Tensor:
    """bool [rows, d] of bool [bundles, units], in the weight's own order of columns."""
    widths = torch.from_numpy(np.diff(of.start)).long()
    mask = torch.empty(len(kept), len(of.columns), dtype=torch.bool)
    mask[:, of.columns] = kept.repeat_interleave(widths, 1)
    return mask.repeat_interleave(of.bundle, 0)[:rows]


def compensated(rows: torch.Tensor, kept: torch.Tensor, h: Hessian) -> torch.Tensor:
    """[rows, d] float64: what is not kept is 0, and the others are the best there is for that: w - H^-1[:,P] (H^-1[P,P])^-1 w_P.

    Where less is kept than removed, the same by the smaller system w_S + (H[S,S])^-1 H[S,P] w_P.
    """
    solved = torch.zeros_like(rows)
    changes = ((kept[1:] != kept[:-1]).any(1).nonzero().flatten() + 1).tolist()
    for alike in (slice(first, last) for first, last in itertools.pairwise([0, *changes, len(kept)])):
        weights, keep = rows[alike], kept[alike.start]
        stays, goes = keep.nonzero().flatten(), (~keep).nonzero().flatten()
        if len(goes) == 0:
            solved[alike] = weights
        elif len(goes) <= len(stays):
            factor = torch.linalg.cholesky(h.inverse[goes][:, goes])
            solved[alike] = weights - (h.inverse[:, goes] @ torch.cholesky_solve(weights[:, goes].T, factor)).T
            solved[alike, goes] = 0.0
        elif len(stays):
            lost = h.matrix[stays][:, goes] @ weights[:, goes].T
            factor = torch.linalg.cholesky(h.matrix[stays][:, stays])
            solved[alike, stays] = weights[:, stays] + torch.cholesky_solve(lost, factor).T
    return solved


def downdated(inverse: npt.NDArray[np.float64], p: int) -> npt.NDArray[np.float64]:
    """H^-1 without the row and column p of H, left in place as zeros (OBC, lemma 1)."""
    less: npt.NDArray[np.float64] = inverse - np.outer(inverse[:, p], inverse[p]) / inverse[p, p]
    less[p] = less[:, p] = 0.0
    return less


def _prune(weight: Floats, inverse: Floats, of: Units, order: Integers, loss: Floats) -> int:
    """The loop of `prune_rows` in obs.c, in float64: fills order and loss [bundles, steps]."""
    for first, chosen, lost in zip(range(0, len(weight), of.bundle), order, loss, strict=True):
        w, current = weight[first : first + of.bundle].astype(np.float64), inverse.astype(np.float64)
        left, alive = of.limit.copy(), np.ones(len(of.group), bool)
        members = [np.arange(first, last) for first, last in zip(of.start, of.start[1:], strict=False)]
        for step in range(len(chosen)):
            open_units = np.flatnonzero(alive & (left[of.group] > 0))
            own = ((w[:, p], current[np.ix_(p, p)]) for p in (members[unit] for unit in open_units))
            losses = [(leaving * np.linalg.solve(block, leaving.T).T).sum() for leaving, block in own]
            unit = int(open_units[int(np.argmin(losses))])
            chosen[step], lost[step] = unit, 0.5 * min(losses)
            for p in members[unit]:
                w -= np.outer(w[:, p] / current[p, p], current[:, p])
                w[:, p] = 0.0
                current = downdated(current, p)
            alive[unit] = False
            left[of.group[unit]] -= 1
    return 0
