"""Ce B fitted to what a layer answers, and not to its weights: rows leave, and coefficients go onto their powers, as optimal brain surgery has it.

The published fit (`exchange.factors`) counts every weight's error alike. Here the layer's inputs say what an error costs: whole rows leave where
the others can best make up for them (Frantar and Alistarh 2022, arXiv:2208.11580, sec. 4), coefficients are rounded row by row, each row's error
handed on to those that follow (Frantar et al. 2023, arXiv:2210.17323, sec. 3, with a row of Ce in place of a weight), and the bases are least
squares of the outputs.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch

from harness.compression.numerics import obs
from harness.compression.numerics.exchange import (
    Factors,
    Fit,
    Slicing,
    factors,
    kept_rows,
    levels,
    of_levels,
    on_basis_grid,
    powers_of_two,
)
from harness.compression.numerics.surgery import Operation, one_thread

ROUNDS = 3
"""Of rounding coefficients and fitting bases to them; the best of each filter counts."""
MOST_CANDIDATES = 3**7


def fit_outputs(operation: Operation, sparsity: float, exponents: int, *, surgery: bool) -> Fit:
    """Of a layer's weight; without `surgery` rows and coefficients are those of the weights, and the bases alone are fitted to the outputs."""
    width = Slicing.of(operation.weight.shape).width
    with one_thread():
        groups = [_Group.of(rows, h, operation.weight.shape) for rows, h in zip(operation.rows, operation.hessians, strict=True)]
        kept = _kept(groups, width, sparsity) if surgery else _largest(groups, sparsity)
        fits = [group.fitted(keep, exponents, ROUNDS if surgery else 0) for group, keep in zip(groups, kept, strict=True)]
    coefficients, bases = (torch.cat(parts).to(operation.weight.dtype) for parts in zip(*fits, strict=True))
    rows = torch.cat([group.slices(keep[:, :, None]) for group, keep in zip(groups, kept, strict=True)])
    wanted = torch.cat([group.slices(group.rows.view(*keep.shape, width)) for group, keep in zip(groups, kept, strict=True)])
    error = float((wanted - coefficients.double() @ bases.double()).norm() / wanted.norm().clamp(min=1e-30))
    return Fit(rows, Factors(coefficients, bases, error))


@dataclass(frozen=True, eq=False)
class _Group:
    """Filters that see the same inputs, filled up with weights of zero that nothing depends on, so that slices are whole."""

    rows: torch.Tensor
    """[filters, units * width] float64."""
    h: obs.Hessian
    slicing: Slicing

    @staticmethod
    def of(rows: torch.Tensor, h: obs.Hessian, shape: torch.Size) -> _Group:
        slicing = Slicing.of(torch.Size((len(rows), *shape[1:])))
        more = slicing.cuts * slicing.slice_rows * slicing.width - rows.shape[1]
        scale = h.scale()
        filled = [torch.nn.functional.pad(matrix, (0, more, 0, more)) for matrix in h]
        for matrix, own in zip(filled, (scale, 1 / scale), strict=True):
            matrix.diagonal()[rows.shape[1] :] = own
        return _Group(torch.nn.functional.pad(rows, (0, more)), obs.Hessian(*filled), slicing)

    def slices(self, units: torch.Tensor) -> torch.Tensor:
        """[filters, units, n] -> [filters * cuts, slice_rows, n]"""
        return units.reshape(-1, self.slicing.slice_rows, units.shape[-1])

    def fitted(self, kept: torch.Tensor, exponents: int, rounds: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Ce and B as `Factors` has them; `kept`: bool [filters, units]."""
        width = self.slicing.width
        columns = kept.repeat_interleave(width, 1)
        start = obs.compensated(self.rows, columns, self.h) if rounds else self.rows * columns
        found = factors(self.slices(start.view(*kept.shape, width)), self.slices(kept[:, :, None]), exponents)
        coefficients = found.coefficients.view(*kept.shape, width)
        bases = found.basis.view(len(kept), -1, width, width)
        best = (coefficients, self._bases(coefficients, bases))
        least = self._errors(*best)
        for _ in range(rounds):
            coefficients = self._rounded(kept, best[1], exponents)
            bases = self._bases(coefficients, best[1])
            errors = self._errors(coefficients, bases)
            better = errors < least
            least = torch.where(better, errors, least)
            best = (
                torch.where(better[:, None, None], coefficients, best[0]),
                torch.where(better[:, None, None, None], bases, best[1]),
            )
        return self.slices(best[0]), best[1].flatten(0, 1)

    def _product(self, coefficients: torch.Tensor, bases: torch.Tensor) -> torch.Tensor:
        """[filters, units * width]"""
        return (self.slices(coefficients) @ bases.flatten(0, 1)).view_as(self.rows)

    def _errors(self, coefficients: torch.Tensor, bases: torch.Tensor) -> torch.Tensor:
        """[filters] squared errors of the outputs."""
        lost = self.rows - self._product(coefficients, bases)
        return (lost @ self.h.matrix * lost).sum(1)

    def _rounded(self, kept: torch.Tensor, bases: torch.Tensor, exponents: int) -> torch.Tensor:
        """Ce [filters, units, width]: each unit the best of the powers next to it, by what is left to make up for its error."""
        width = self.slicing.width
        upper = torch.linalg.cholesky(self.h.inverse, upper=True)
        inverses = torch.linalg.pinv(bases)
        around = _around(width)
        left, found = self.rows.clone(), torch.zeros(*kept.shape, width, dtype=self.rows.dtype)
        for unit in range(kept.shape[1]):
            own = slice(unit * width, (unit + 1) * width)
            cut = unit // self.slicing.slice_rows
            metric = torch.linalg.inv(upper[own, own])
            wanted = left[:, own]
            near = levels(powers_of_two((wanted[:, None] @ inverses[:, cut])[:, 0], exponents), exponents)
            candidates = of_levels((near[:, None] + around).clamp(-exponents, exponents), exponents)
            costs = ((wanted[:, None] - candidates @ bases[:, cut]) @ metric).square().sum(2)
            chosen = candidates[torch.arange(len(near)), costs.argmin(1)] * kept[:, unit, None]
            error = (wanted - (chosen[:, None] @ bases[:, cut])[:, 0]) @ metric
            left[:, own.stop :] -= error @ upper[own, own.stop :]
            found[:, unit] = chosen
        return found

    def _bases(self, coefficients: torch.Tensor, bases: torch.Tensor) -> torch.Tensor:
        """[filters, cuts, width, width] that give the least error, one cut after the other, on their grid."""
        width, bases = self.slicing.width, bases.clone()
        for cut in range(self.slicing.cuts):
            units = slice(cut * self.slicing.slice_rows, (cut + 1) * self.slicing.slice_rows)
            columns = slice(units.start * width, units.stop * width)
            own = coefficients[:, units]
            others = bases.clone()
            others[:, cut] = 0.0
            lost = (self.rows - self._product(coefficients, others)) @ self.h.matrix[:, columns]
            h = self.h.matrix[columns, columns].view(own.shape[1], width, own.shape[1], width)
            half = torch.einsum("fua,ujvm->fajvm", own, h)
            square = torch.einsum("fajvm,fvb->fajbm", half, own).reshape(len(own), width**2, width**2)
            right = torch.einsum("fua,fuj->faj", own, lost.view(len(own), -1, width)).reshape(len(own), width**2, 1)
            bases[:, cut] = (torch.linalg.pinv(square, hermitian=True, rtol=1e-10) @ right).view(-1, width, width)
        return on_basis_grid(bases.flatten(0, 1)).view_as(bases)


def _kept(groups: list[_Group], width: int, sparsity: float) -> list[torch.Tensor]:
    """bool [filters, units] of each group: those stay whose going the others cannot make up for; the layer loses round(sparsity * all)."""
    if not sparsity:
        return [torch.ones(len(group.rows), group.rows.shape[1] // width, dtype=torch.bool) for group in groups]
    columns = groups[0].rows.shape[1]
    units = columns // width
    of = obs.Units(
        torch.arange(columns), np.arange(0, columns + 1, width, dtype=np.int32), np.zeros(units, np.int32), np.array([units], np.int32), 1
    )  # fmt: skip
    found = [obs.traces(group.rows, group.h, of, units) for group in groups]
    trace = obs.Trace(*(torch.cat(parts) for parts in zip(*found, strict=True)))
    kept = obs.kept_units(trace, units, round(sparsity * trace.order.numel()))
    return list(kept.chunk(len(groups)))


def _largest(groups: list[_Group], sparsity: float) -> list[torch.Tensor]:
    """The same by the size of the rows alone."""
    width = groups[0].slicing.width
    cut = [group.rows.view(len(group.rows), -1, width) for group in groups]
    kept = kept_rows(torch.cat(cut), sparsity)[:, :, 0]
    return list(kept.chunk(len(groups)))


def _around(width: int) -> torch.Tensor:
    """[candidates, width] steps of -1, 0 or 1 to the powers next to the nearest, the nearest first; where those are too many, one step at a time."""
    if 3**width <= MOST_CANDIDATES:
        return torch.tensor(list(itertools.product((0.0, -1.0, 1.0), repeat=width)), dtype=torch.float64)
    one = torch.eye(width, dtype=torch.float64)
    return torch.cat([torch.zeros(1, width, dtype=torch.float64), one, -one])
