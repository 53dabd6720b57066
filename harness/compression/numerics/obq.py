"""Optimal brain quantization: weights go onto a grid one after another, and those left in the row make up for each (arXiv:2208.11580, sec. 5)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from harness.compression.numerics.native import by_rows, compiled_loops, pointer
from harness.compression.numerics.obs import LOOPS, Floats, Hessian, downdated

SHRINKS = tuple(round(1 - 0.01 * step, 2) for step in range(80))
"""1, 0.99 ... 0.21: shares of a row's full range that the grid search tries (OBC, appendix; power of the error likewise)."""
ERROR_POWER = 2.4


class Grid(NamedTuple):
    """scale * {low ... high} of each row, 0 among them: `low` and `high` are whole numbers."""

    scale: torch.Tensor
    """[rows] float32."""
    low: torch.Tensor
    """[rows] float32, not above 0."""
    high: torch.Tensor
    """[rows] float32, not below 0."""

    def nearest(self, rows: torch.Tensor) -> torch.Tensor:
        """[rows, d] float32 rounded to the nearest value of each row's grid."""
        scale, low, high = self.scale[:, None], self.low[:, None], self.high[:, None]
        return torch.minimum(torch.maximum((rows.float() / scale).round(), low), high) * scale


def grid(rows: torch.Tensor, bits: int, *, symmetric: bool = True, search: bool = True) -> Grid:
    """2^bits values for each row [rows, d]: symmetric over +-max |w|, otherwise over min ... max with 0.

    `search`: the share of that range, 1 ... 0.21, whose rounding errors have the least sum of |error|^2.4: fine steps may be worth a clipped end.
    """
    weights, levels = rows.float(), 2.0**bits - 1
    if symmetric:
        top = weights.abs().amax(1)
        bottom = -top
    else:
        top, bottom = weights.amax(1).clamp(min=0), weights.amin(1).clamp(max=0)
    best, least = _spanning(bottom, top, levels, symmetric), torch.full_like(top, torch.inf)
    for shrink in SHRINKS if search else ():
        tried = _spanning(bottom * shrink, top * shrink, levels, symmetric)
        error = (tried.nearest(weights) - weights).abs().pow(ERROR_POWER).sum(1)
        better = error < least
        best = Grid(*(torch.where(better, new, old) for new, old in zip(tried, best, strict=True)))
        least = torch.where(better, error, least)
    return best


def quantized(rows: torch.Tensor, h: Hessian, on: Grid) -> torch.Tensor:
    """[rows, d] float32 on the grid, exactly; weights [rows, d] that are zero are left out of H first and stay zero."""
    weight = rows.float().contiguous().clone().numpy()
    inverse = (h.inverse * h.scale()).float().contiguous().numpy()
    start = np.arange(weight.shape[1] + 1, dtype=np.int32)
    scale, low, high = (array.contiguous().numpy() for array in on)
    loops = compiled_loops(LOOPS)

    def quantize(part: slice) -> int:
        given = scale[part], low[part], high[part]
        if loops is None:
            return _quantize(weight[part], inverse, *given)
        pointers = [pointer(array, np.float32) for array in (weight[part], inverse, *given)]
        pointers.insert(2, pointer(start, np.int32))
        return int(loops.quantize_rows(len(weight[part]), weight.shape[1], *pointers))

    by_rows(quantize, len(weight), "optimal brain quantization")
    return torch.from_numpy(weight)


def _spanning(bottom: torch.Tensor, top: torch.Tensor, levels: float, symmetric: bool) -> Grid:
    """`levels` steps from bottom to top; a row of zeros has step 1. The symmetric grid has one value more below 0 than above."""
    scale = (top - bottom) / levels
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    low = torch.full_like(scale, -(levels + 1) / 2) if symmetric else (bottom / scale).round()
    return Grid(scale, low, low + levels)


def _quantize(weight: Floats, inverse: Floats, scale: Floats, low: Floats, high: Floats) -> int:
    """The loop of `quantize_rows` in obs.c, in float64 but for the grid."""
    for row, step, bottom, top in zip(weight, scale, low, high, strict=True):
        w, current = row.astype(np.float64), inverse.astype(np.float64)
        left = np.ones(len(w), bool)
        zeros = np.flatnonzero(row == 0.0).tolist()
        while left.any():
            errors = np.clip(np.rint(w / step), bottom, top) * step - w
            far = left & (np.abs(errors) > 0.5001 * step)
            if zeros:
                p = zeros.pop(0)
            elif far.any():
                p = int(np.argmax(np.where(far, np.abs(errors), -1.0)))
            else:
                p = int(np.argmin(np.where(left, errors**2 / np.where(left, current.diagonal(), 1.0), np.inf)))
            row[p] = np.float32(np.clip(np.rint(w[p] / step), bottom, top)) * step
            w -= current[:, p] * ((w[p] - np.float64(row[p])) / current[p, p])
            w[p] = row[p]
            current = downdated(current, p)
            left[p] = False
    return 0
