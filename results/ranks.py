"""Ranks whose ties are shared. SciPy's own are in `scipy.stats`, which takes longer to import than all else that a run without torch needs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def ranked(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """[n] the place of each of n numbers in their order, from 1; equal ones share the mean of their places (Wilcoxon 1945)."""
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    means: npt.NDArray[np.float64] = np.cumsum(size) - (size - 1) / 2
    return means[group]
