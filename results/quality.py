"""How good a network's answers are, from one sample an example: share of hits, area under the ROC curve, macro F1.

Two networks are compared on the same examples in the same order: what tells them apart are the examples, so p-values are paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, ndtr, ndtri

from results.ranks import ranked
from results.record import Samples
from results.spread import Interval

Floats = npt.NDArray[np.float64]

RESAMPLES = 2000
"""Of the bootstrap of F1: its interval's ends then move by some hundredths of its width from seed to seed."""


class Quality(NamedTuple):
    """One way to judge answers. All are shares in 0..1, and more is better."""

    estimate: Callable[[Samples], float]
    interval: Callable[[Samples, float], Interval]
    p_value: Callable[[Samples, Samples], float]
    """Two-sided, of the hypothesis that both networks are equally good; the examples must be the same."""


def proportion_interval(hits: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Share of ones among n examples, with Wilson's score interval (1927; Brown, Cai & DasGupta 2001 on why)."""
    values = _hits(hits)
    n, share = len(values), float(values.mean())
    z = float(ndtri((1 + level) / 2))
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = (0.0 if share == 0 else centre - half), (1.0 if share == 1 else centre + half)
    return Interval(share, low, high, level, f"share of {n} examples, Wilson's score interval")


def mcnemar(a_hits: npt.ArrayLike, b_hits: npt.ArrayLike) -> float:
    """Exact two-sided p that two networks, judged on the same examples in the same order, are right equally often (McNemar 1947).

    Only examples that one gets right and the other wrong tell them apart; under the hypothesis they fall either way like a coin.
    """
    a, b = _hits(a_hits), _hits(b_hits)
    if len(a) != len(b):
        raise ValueError(f"paired hits of {len(a)} and {len(b)} examples")
    only_a, only_b = int(np.sum(a > b)), int(np.sum(b > a))
    return min(1.0, 2.0 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def auc_interval(samples: Samples, level: float = 0.95) -> Interval:
    """Area under the ROC curve of a score (value) of which label 1 should have more than label 0, after DeLong et al. 1988.

    The interval is taken on the logit, where it stays inside 0..1 (Pepe 2003, sec. 5.2.4).
    """
    of_positive, of_negative = _placements(samples)
    area = float(of_positive.mean())
    how = f"area under the ROC curve of {len(of_positive)} positive and {len(of_negative)} negative examples"
    if min(len(of_positive), len(of_negative)) < 2:
        return Interval(area, None, None, level, f"{how}: no interval from one example of a class")
    error = math.sqrt(of_positive.var(ddof=1) / len(of_positive) + of_negative.var(ddof=1) / len(of_negative))
    if not 0 < area < 1 or error == 0:
        return Interval(area, None, None, level, f"{how}: no interval where the classes do not overlap")
    centre, half = math.log(area / (1 - area)), float(ndtri((1 + level) / 2)) * error / (area * (1 - area))
    low, high = (1 / (1 + math.exp(-end)) for end in (centre - half, centre + half))
    return Interval(area, low, high, level, f"{how}, DeLong's interval on the logit")


def auc_p_value(a: Samples, b: Samples) -> float:
    """Two-sided p of equal areas over the same examples (DeLong et al. 1988): their placements differ example by example."""
    _same_examples(a, b)
    differences = [x - y for x, y in zip(_placements(a), _placements(b), strict=True)]
    if min(map(len, differences)) < 2:
        return 1.0
    error = math.sqrt(sum(d.var(ddof=1) / len(d) for d in differences))
    difference = float(differences[0].mean())
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return 2.0 * float(ndtr(-abs(difference) / error))


def f1_interval(samples: Samples, level: float = 0.95) -> Interval:
    """Macro F1 of predicted classes (value) against labels, with the percentile interval of a bootstrap over examples."""
    drawn = _f1_draws(samples)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    how = f"macro F1 of {len(samples)} examples, percentile interval of {RESAMPLES} bootstrap draws"
    return Interval(_f1(samples), float(low), float(high), level, how)


def f1_p_value(a: Samples, b: Samples) -> float:
    """Two-sided bootstrap p of equal macro F1: both networks are judged on the same draws of examples (Efron & Tibshirani 1993, sec. 15.4)."""
    _same_examples(a, b)
    difference = _f1_draws(a) - _f1_draws(b)
    below, above = int(np.sum(difference <= 0)), int(np.sum(difference >= 0))
    return min(1.0, 2.0 * (min(below, above) + 1) / (RESAMPLES + 1))


def _share(samples: Samples) -> float:
    return float(_hits(samples.value).mean())


def _area(samples: Samples) -> float:
    return float(_placements(samples)[0].mean())


def _f1(samples: Samples) -> float:
    predicted, true, classes = _classes(samples)
    return float(_f1_of(np.bincount(true * classes + predicted, minlength=classes * classes)[None], classes)[0])


def _f1_draws(samples: Samples) -> Floats:
    """[RESAMPLES] macro F1 of examples drawn with replacement: only how often each pair of true and predicted class is drawn matters.

    The draws are of examples by number, so two networks over the same examples see the same draws.
    """
    predicted, true, classes = _classes(samples)
    pairs, n = true * classes + predicted, len(true)
    rng = np.random.default_rng(0)
    found = [
        _f1_of(np.bincount(pairs[rng.integers(0, n, n)], minlength=classes * classes)[None], classes) for _ in range(RESAMPLES)
    ]
    return np.concatenate(found)


def _f1_of(counts: npt.NDArray[np.int64], classes: int) -> Floats:
    """[draws] mean F1 over the classes that are there, of confusion counts [draws, true * classes + predicted]."""
    table = counts.reshape(-1, classes, classes)
    hit = np.einsum("dcc->dc", table)
    both = table.sum(1) + table.sum(2)  # 2 TP + FP + FN
    there = both > 0
    return np.asarray(np.where(there, 2 * hit / np.maximum(both, 1), 0.0).sum(1) / there.sum(1))


def _classes(samples: Samples) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    predicted, true = samples.value.astype(np.int64), samples.label.astype(np.int64)
    if not len(true) or min(predicted.min(), true.min()) < 0 or (predicted != samples.value).any():
        raise ValueError("F1 needs a predicted class and a label, whole numbers from 0, for each example")
    names, codes = np.unique(np.concatenate([predicted, true]), return_inverse=True)
    return codes[: len(true)], codes[len(true) :], len(names)


def _placements(samples: Samples) -> tuple[Floats, Floats]:
    """Share of the other class that each positive lies above, and that each negative lies below; ties count half."""
    positive, negative = samples.value[samples.label == 1], samples.value[samples.label == 0]
    if not len(positive) or not len(negative) or len(positive) + len(negative) != len(samples):
        raise ValueError("the area under the ROC curve needs examples of label 1 and of label 0, and no others")
    ranks = ranked(np.concatenate([positive, negative]))
    m = len(positive)
    of_positive = (ranks[:m] - ranked(positive)) / len(negative)
    of_negative = 1.0 - (ranks[m:] - ranked(negative)) / m
    return of_positive, of_negative


def _same_examples(a: Samples, b: Samples) -> None:
    if not np.array_equal(a.label, b.label):
        raise ValueError(f"the {len(a)} and {len(b)} examples are not the same")


def _hits(hits: npt.ArrayLike) -> Floats:
    values = np.asarray(hits, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isin(values, (0.0, 1.0)).all():
        raise ValueError("hits are one 0 or 1 an example, at least one")
    return values


_OF_HITS = Quality(_share, lambda s, level: proportion_interval(s.value, level), lambda a, b: mcnemar(a.value, b.value))

QUALITIES: Mapping[str, Quality] = {
    "top1": _OF_HITS,
    "top5": _OF_HITS,
    "auc": Quality(_area, auc_interval, auc_p_value),
    "f1": Quality(_f1, f1_interval, f1_p_value),
}
"""Metric -> how it is computed. A model is judged by one of these; its record holds it beside latency and memory."""
