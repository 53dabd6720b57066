"""Means of blocks of samples: fewer numbers of the same energy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def means(index: npt.NDArray[np.int64], values: Floats, block: int, *, least: int, most: float) -> tuple[Floats, Floats]:
    """(sample number of the middle, mean) of each block of `block` samples of which `least` are there, from samples [n] and their numbers.

    Of fewer nothing is left: a gap. A sample at the range's end, `most`, spoils its block: it must not hide in a mean.
    """
    numbers, starts, counts = np.unique(index // block, return_index=True, return_counts=True)
    found: Floats = np.asarray(np.add.reduceat(values, starts) / counts, np.float64)
    found[np.maximum.reduceat(values, starts) >= most] = most
    is_enough = counts >= least
    middle: Floats = (numbers[is_enough].astype(np.float64) + 0.5) * block
    return middle, found[is_enough]
