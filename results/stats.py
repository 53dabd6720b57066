"""Statistics over raw samples: pure functions, one source each. The unit of inference is the process launch, not the sample.

Samples of one launch share its memory layout, its frequency, its heap: they are no independent draws (Georges, Buytaert & Eeckhout 2007,
"Statistically rigorous Java performance evaluation", sec. 3; Kalibera & Jones 2013, "Rigorous benchmarking in reasonable time", sec. 4).
So each launch is reduced to its median, and intervals come from the spread of the launches' logarithms by Student's t; that of one group is
widened for what skewed launches hide (`spread.ALLOWANCE`). In a difference of logarithms skew cancels: ratios take t as it is. Resampling
covers less (percentile bootstrap), or no better at a far greater width (bootstrap-t), with the launches that anyone can afford.

    k = 1    no interval: what launches do cannot be seen in one
    k = 2    an interval, and no test: two launches that happen to agree look like certainty
    k >= 3   both

No number of launches shows what none of them did: a mode that one launch in n takes is missed by all k with probability (1 - 1/n)^k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from results.quality import QUALITIES
from results.record import Measurement, Samples
from results.spread import Interval, independent_difference, paired_difference, spread_of_mean

Floats = npt.NDArray[np.float64]

WIDE = "standard deviation above 10 % of the mean"
FAR = "a sample more than 50 % off the mean"
OUTLIERS = "outliers beyond 10 standard deviations"
TAILS = "more than 10 % of the samples outside Tukey's fences"
SLOW_START = "first sample of a launch slow: more warm-up needed"
DISAGREE = "launches disagree by more than 5 %"
SHORT = "samples shorter than 1 ms"

MINIMUM_EFFECT = 0.005
"""A ratio within 0.5 % of 1 is no difference: the order of runs and memory layout make that much by themselves, and more launches do not
average it out (Mytkowicz et al. 2009, "Producing wrong data without doing anything obviously wrong!")."""

LEAST_TESTED = 3
"""Launches from which two groups are tested. Where launches have two speeds, two of each group agree by chance so often that one A/A in ten
would alarm; a true 5 % they would find in one of eight."""

MODIFIED_Z = 14.826
"""Distance from the median in median absolute deviations; 10 standard deviations of a normal distribution (Iglewicz & Hoaglin 1993)."""
MIN_SAMPLE_S = 1e-3
_FEW = 5
"""With fewer samples quartiles and deviations mean nothing."""


class Ratio(NamedTuple):
    """Speed-up of a candidate over a baseline: baseline / candidate, above 1 where the candidate's numbers are smaller."""

    estimate: float
    """NaN where there is no ratio; `method` then says why."""
    low: float | None
    high: float | None
    p_value: float | None
    """Two-sided, of the hypothesis that the true ratio is within the minimum effect of 1; None where it cannot be tested."""
    paired: bool
    method: str = ""


def launch_medians(samples: Samples) -> dict[int, float]:
    """Median of each launch's timed samples, by launch; a launch that never got past its warm-up is not in it."""
    value, launch = samples.value[samples.timed], samples.launch[samples.timed]
    value = value[np.lexsort((value, launch))]
    names, starts, counts = np.unique(np.sort(launch), return_index=True, return_counts=True)
    medians = (value[starts + (counts - 1) // 2] + value[starts + counts // 2]) / 2
    return dict(zip(names.tolist(), medians.tolist(), strict=True))


def median_interval(samples: Samples, level: float = 0.95) -> Interval:
    """Geometric mean of the launches' medians with its interval; arithmetic where a median is not positive."""
    medians = np.array(list(launch_medians(samples).values()))
    if not len(medians):
        raise ValueError("no timed sample: nothing to estimate from")
    is_positive = bool((medians > 0).all())
    centre, back = ("geometric", _exp) if is_positive else ("arithmetic", float)
    x = np.log(medians) if is_positive else medians
    k = len(x)
    if k == 1:
        return Interval(float(medians[0]), None, None, level, "median of one process launch: no interval without a second launch")
    around = spread_of_mean(x, level)
    how = f"{centre} mean of {k} launch medians, {around.name}"
    mean = float(x.mean())
    return Interval(back(mean), back(mean - around.high * around.error), back(mean - around.low * around.error), level, how)


def ratio(
    baseline: Samples, candidate: Samples, paired: bool, level: float = 0.95, minimum_effect: float = MINIMUM_EFFECT
) -> Ratio:
    """How many times smaller the candidate is. `paired`: launch i of one ran beside launch i of the other, so the machine's drift cancels.

    Otherwise the launches are independent and their variances may differ (Welch 1947). `minimum_effect`: a device's noise floor, where known.
    """
    a, b = launch_medians(baseline), launch_medians(candidate)
    if paired:
        a, b = {i: a[i] for i in a if i in b}, {i: b[i] for i in b if i in a}
    if not a or not b:
        return Ratio(math.nan, None, None, None, paired, "no ratio: no timed samples to compare")
    if min(*a.values(), *b.values()) <= 0:
        return Ratio(math.nan, None, None, None, paired, "no ratio: a launch median is not positive")
    x, y = np.log(list(a.values())), np.log([b[i] for i in a] if paired else list(b.values()))
    mean = float(x.mean() - y.mean())
    if min(len(x), len(y)) == 1:
        return Ratio(_exp(mean), None, None, None, paired, "one process launch: no interval without a second launch")
    difference = paired_difference(x, y, level) if paired else independent_difference(x, y, level)
    around, is_tested = difference.spread, min(len(x), len(y)) >= LEAST_TESTED
    p_value = difference.p_value(mean, math.log1p(minimum_effect)) if is_tested else None
    low, high = _exp(mean - around.high * around.error), _exp(mean - around.low * around.error)
    how = f"{len(x)} pairs of launches" if paired else f"{len(x)} and {len(y)} independent launches"
    untested = "" if is_tested else f"; too few to be tested: that takes {LEAST_TESTED}"
    return Ratio(_exp(mean), low, high, p_value, paired, f"{how}, {around.name}{untested}")


def summary(measurement: Measurement) -> Interval | None:
    """The measurement's estimate and interval by its metric's own rule; None where it has no timed sample."""
    samples = measurement.samples
    if samples is None or not samples.timed.any():
        return None
    quality = QUALITIES.get(measurement.metric)
    return median_interval(samples) if quality is None else quality.interval(samples, 0.95)


def false_discovery(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values q: taking all with q <= a keeps the expected share of false ones among them at a (Benjamini & Hochberg 1995)."""
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values must lie in [0, 1]")
    order = np.argsort(p)[::-1]
    ranks = np.arange(len(p), 0, -1)
    q = np.empty_like(p)
    q[order] = np.minimum(1.0, np.minimum.accumulate(p[order] * len(p) / ranks))
    return [float(value) for value in q]


def percentile(samples: Samples, q: float) -> float | None:
    """The q-th percentile (0..100) of all timed samples, interpolated; None where less than one sample lies beyond it: p99 needs 100."""
    values = samples.value[samples.timed]
    beyond = len(values) * min(q, 100 - q) / 100
    if not len(values) or (q != 50 and beyond < 1 - 1e-9):  # 100 - 99.9 is a little less than 0.1
        return None
    return float(np.percentile(values, q))


def unstable(samples: Samples) -> tuple[str, ...]:
    """What makes these times (seconds) noisy, in words for a footnote; empty when nothing does.

    The rules on the mean and on short samples are pyperf's, the one on the modified z-score is hyperfine's, the fences are Tukey's (1977).
    """
    values = samples.value[samples.timed]
    if not len(values):
        return ()
    mean = float(values.mean())
    found = []
    if len(values) > 1 and values.std(ddof=1) > 0.1 * abs(mean):
        found.append(WIDE)
    if np.abs(values - mean).max() > 0.5 * abs(mean):
        found.append(FAR)
    if len(values) >= _FEW:
        if _modified_z(values).max() > MODIFIED_Z:
            found.append(OUTLIERS)
        low, high = np.quantile(values, [0.25, 0.75])
        fence = 1.5 * (high - low)
        if np.mean((values < low - fence) | (values > high + fence)) > 0.1:
            found.append(TAILS)
    if _starts_slow(samples):
        found.append(SLOW_START)
    medians = np.array(list(launch_medians(samples).values()))
    if (medians > 0).all() and len(medians) > 1 and np.log(medians).std(ddof=1) > np.log1p(0.05):
        found.append(DISAGREE)
    if np.median(values * samples.loops[samples.timed]) < MIN_SAMPLE_S:
        found.append(SHORT)
    return tuple(found)


def _exp(x: float) -> float:
    return math.exp(x) if x < 709 else math.inf


def _modified_z(values: Floats) -> Floats:
    """|x - median| / MAD; 0 where more than half of the values are equal, for then the MAD measures the clock's step, not the spread."""
    distance = np.abs(values - np.median(values))
    mad = float(np.median(distance))
    return distance / mad if mad else np.zeros_like(distance)


def _starts_slow(samples: Samples) -> bool:
    """Whether in most launches the first timed sample is 10 % above the launch's median: one such launch may be chance."""
    slow = []
    for launch, median in launch_medians(samples).items():
        values = samples.value[samples.timed & (samples.launch == launch)]
        if len(values) >= _FEW:
            slow.append(values[0] > 1.1 * median)
    return bool(slow) and sum(slow) > len(slow) / 2
