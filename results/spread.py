"""How far an estimate over launches may lie from the truth: Student's t for few of them, bootstrap-t for many."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

Floats = npt.NDArray[np.float64]

BOOTSTRAP_FROM = 20
"""Launches from which resampling them says more than Student's t."""
RESAMPLES = 9999
MINIMUM_EFFECT = 0.005
"""A ratio within 0.5 % of 1 is no difference: order of runs and memory layout alone make that much, and more launches do not average it out
(Mytkowicz et al. 2009, "Producing wrong data without doing anything obviously wrong!")."""


class Spread(NamedTuple):
    """What (estimate - truth) / error may be: its central quantiles, and its tails for tests."""

    error: float
    """Standard error of the estimate."""
    low: float
    high: float
    freedom: float
    """Student's degrees of freedom."""
    drawn: Floats | None
    """Sorted resampled values of the same quotient; None where Student's t stands for them."""
    name: str

    def p_value(self, mean: float) -> float:
        """Twice the smaller tail beyond the nearer edge of the hypothesis (Hodges & Lehmann 1954: a point is never quite true)."""
        beyond = abs(mean) - math.log1p(MINIMUM_EFFECT)
        if beyond <= 0:
            return 1.0
        if self.error == 0:
            return 0.0
        t = beyond / self.error
        student = min(1.0, 2.0 * float(stdtr(self.freedom, -t)))
        if self.drawn is None:
            return student
        n = len(self.drawn)
        farther = n - np.searchsorted(self.drawn, t) if mean > 0 else np.searchsorted(self.drawn, -t, side="right")
        resampled = min(1.0, 2.0 * (float(farther) + 1) / (n + 1))
        return resampled if farther else min(resampled, student)  # beyond all that was drawn, the draws have no more to say


def spread(x: Floats, level: float, seed: int) -> Spread:
    """Of the mean of independent values."""
    k = len(x)
    error = float(x.std(ddof=1)) / math.sqrt(k)
    if k >= BOOTSTRAP_FROM and error > 0:
        shift, variance = _resampled(x, seed)
        if (variance > 0).all():
            return _resampling(error, shift / np.sqrt(variance), k - 1, level)
    return _student(error, k - 1, level)


def spread_of_two(x: Floats, y: Floats, level: float, seed: int) -> Spread:
    """Of the difference of the means of two independent groups; degrees of freedom after Welch and Satterthwaite."""
    u, v = float(x.var(ddof=1)) / len(x), float(y.var(ddof=1)) / len(y)
    error = math.sqrt(u + v)
    freedom = (u + v) ** 2 / (u**2 / (len(x) - 1) + v**2 / (len(y) - 1)) if error else float(len(x) + len(y) - 2)
    if min(len(x), len(y)) >= BOOTSTRAP_FROM and error > 0:
        shift_x, variance_x = _resampled(x, seed)
        shift_y, variance_y = _resampled(y, seed + 1)
        variance = variance_x + variance_y
        if (variance > 0).all():
            return _resampling(error, (shift_x - shift_y) / np.sqrt(variance), freedom, level)
    return _student(error, freedom, level)


def _student(error: float, freedom: float, level: float) -> Spread:
    high = float(stdtrit(freedom, (1 + level) / 2))
    return Spread(error, -high, high, freedom, None, "Student's t" if error else "all equal")


def _resampling(error: float, drawn: Floats, freedom: float, level: float) -> Spread:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Spread(error, float(low), float(high), freedom, np.sort(drawn), "bootstrap-t over launches")


def _resampled(x: Floats, seed: int) -> tuple[Floats, Floats]:
    """[RESAMPLES] each: how far the mean of a resample lies from the mean, and the squared standard error in that resample."""
    k = len(x)
    centred = x - x.mean()
    counts = _counts(k, seed)
    shift = counts @ centred / k
    variance = np.maximum(counts @ centred**2 / k - shift**2, 0.0) / (k - 1)
    return shift, np.where(variance > 1e-12 * centred.var() / k, variance, 0.0)


@functools.lru_cache(maxsize=8)
def _counts(k: int, seed: int) -> Floats:
    """[RESAMPLES, k]: how often each of k values is in each resample. A mean over a resample is then a product."""
    return np.random.default_rng([seed, k]).multinomial(k, np.full(k, 1 / k), RESAMPLES).astype(np.float64)
