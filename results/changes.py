"""Where a series of nights changed its level, by ranks: no assumption on the noise, and one odd night can do nothing.

Each stretch of nights is held against all others by its standardized rank sum (Wilcoxon 1945); the largest of these over all stretches is
the statistic, after circular binary segmentation (Olshen, Venkatraman, Lucito & Wigler 2004, "Circular binary segmentation for the analysis
of array-based DNA copy number data", sec. 2), which sees a bump that was mended as well as a step that stayed. Its distribution where
nothing changed depends on the number of nights alone, so shuffles give exact p-values once for all series. What was found is split again.

In a series whose nights are exchangeable a change is found with probability `alpha` at most. Nights that drift or lean on the night before are
not exchangeable and alarm more often; `MINIMUM_CHANGE` keeps the small ones of these quiet.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from results.ranks import ranked

Floats = npt.NDArray[np.float32]

ALPHA = 0.05
MINIMUM_CHANGE = 0.02
"""Smaller steps are no finding: updates of a system move memory layout, and that moves times by this much (Mytkowicz et al. 2009)."""
SHORTEST = 3
"""Fewest nights that make a level."""
LONGEST = 90
"""Nights that are looked at together; the caller gives the newest ones of a longer series."""
SHUFFLES = 9999


class Change(NamedTuple):
    """A new level that begins at night `at`: `ratio` times the level before it, with its 95 % interval where the nights suffice for one."""

    at: int
    ratio: float
    low: float | None
    high: float | None


class Detection(NamedTuple):
    p_value: float | None
    """That nothing changed in the whole series; None where the nights are too few to ask."""
    changes: tuple[Change, ...]
    """Oldest first."""


class _Stretches(NamedTuple):
    """All stretches [start, stop) of n nights of which neither they nor what is left beside them is shorter than a level may be."""

    start: npt.NDArray[np.intp]
    stop: npt.NDArray[np.intp]
    mean: Floats
    """Rank sum that is expected where nothing changed."""
    deviation: Floats


def detect(values: Sequence[float], alpha: float = ALPHA, minimum: float = MINIMUM_CHANGE) -> Detection:
    """Changes of level in positive values, one a night, oldest first. ValueError for values that have no ratio, or too many."""
    if len(values) > LONGEST:
        raise ValueError(f"{len(values)} nights; give the newest {LONGEST}")
    logs = np.log(values) if len(values) and min(values) > 0 else np.full(len(values), np.nan)
    if not np.isfinite(logs).all():
        raise ValueError("a level has no ratio to one that is not positive and finite")
    if len(values) < 2 * SHORTEST:
        return Detection(None, ())
    p_value, _ = _strongest(logs)
    edges = _kept(_placed([0, *sorted(set(_edges(logs, alpha))), len(logs)], logs), logs, alpha, minimum)
    return Detection(p_value, tuple(_change(logs, *ends) for ends in _inner(edges)))


def _edges(logs: npt.NDArray[np.float64], alpha: float, offset: int = 0) -> Iterator[int]:
    """Ends of the strongest stretch, and of those within it and beside it."""
    if len(logs) < 2 * SHORTEST:
        return
    p_value, (start, stop) = _strongest(logs)
    if p_value > alpha:
        return
    ends = [0, *(end for end in (start, stop) if 0 < end < len(logs)), len(logs)]
    yield from (offset + end for end in ends[1:-1])
    for low, high in itertools.pairwise(ends):
        yield from _edges(logs[low:high], alpha, offset + low)


def _placed(edges: list[int], logs: npt.NDArray[np.float64]) -> list[int]:
    """Each edge where the nights lie nearest to the medians of the two levels beside it: ranks find that there is one, not quite where."""
    placed = list(edges)
    for k in range(1, len(edges) - 1):
        before, after = placed[k - 1], placed[k + 1]
        places = range(before + SHORTEST, after - SHORTEST + 1)
        placed[k] = min(places, key=lambda at: _spread(logs[before:at]) + _spread(logs[at:after]), default=placed[k])
    return placed


def _spread(logs: npt.NDArray[np.float64]) -> float:
    return float(np.abs(logs - np.median(logs)).sum())


def _kept(edges: list[int], logs: npt.NDArray[np.float64], alpha: float, minimum: float) -> list[int]:
    """Edges without those where the levels beside them do not differ: the far end of a stretch is often chance (Olshen et al., sec. 4)."""
    while len(edges) > 2:
        weakest: tuple[float, int] | None = None
        for before, at, after in _inner(edges):
            shift, low, high = _shift(logs[before:at], logs[at:after], 1 - alpha)
            excludes_none = low is not None and high is not None and not low <= 0 <= high
            if (not excludes_none or abs(shift) < math.log1p(minimum)) and (weakest is None or abs(shift) < weakest[0]):
                weakest = abs(shift), at
        if weakest is None:
            break
        edges = [edge for edge in edges if edge != weakest[1]]
    return edges


def _inner(edges: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(edge before, edge, edge after) of every edge but the first and last."""
    return zip(edges, edges[1:], edges[2:], strict=False)


def _change(logs: npt.NDArray[np.float64], before: int, at: int, after: int) -> Change:
    shift, low, high = _shift(logs[before:at], logs[at:after])
    return Change(at, math.exp(shift), None if low is None else math.exp(low), None if high is None else math.exp(high))


def _shift(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], level: float = 0.95
) -> tuple[float, float | None, float | None]:
    """Median of all differences between two groups and its rank interval (Hodges & Lehmann 1963; Hollander & Wolfe 1999, sec. 4.3)."""
    differences = np.sort(np.subtract.outer(after, before).ravel())
    m, n = len(before), len(after)
    rank = math.floor(m * n / 2 - float(ndtri((1 + level) / 2)) * math.sqrt(m * n * (m + n + 1) / 12) + 0.5)
    middle = float(np.median(differences))
    return (middle, float(differences[rank - 1]), float(differences[-rank])) if rank >= 1 else (middle, None, None)


def _strongest(logs: npt.NDArray[np.float64]) -> tuple[float, tuple[int, int]]:
    """p of the largest standardized rank sum, and the stretch that has it."""
    among = _stretches(len(logs))
    scores = _scores(ranked(logs).astype(np.float32)[None], among)[0]
    best = int(scores.argmax())
    null = _null(len(logs))
    at_least = len(null) - int(
        np.searchsorted(null, scores[best] - 1e-4)
    )  # single precision: equal scores differ in their last bits
    return (1 + at_least) / (1 + len(null)), (int(among.start[best]), int(among.stop[best]))


def _scores(ranks: Floats, among: _Stretches) -> Floats:
    """[series, stretches]: how many standard deviations each stretch's rank sum is off what it is where nothing changed."""
    total = np.zeros((ranks.shape[0], ranks.shape[1] + 1), np.float32)
    np.cumsum(ranks, axis=1, out=total[:, 1:])
    return np.asarray(np.abs(total[:, among.stop] - total[:, among.start] - among.mean) / among.deviation)


@functools.lru_cache(maxsize=LONGEST)
def _stretches(n: int) -> _Stretches:
    start, stop = np.triu_indices(n + 1, SHORTEST)
    pieces = start, n - stop, n - (stop - start)
    allowed = (pieces[2] >= SHORTEST) & np.all([(p == 0) | (p >= SHORTEST) for p in pieces[:2]], axis=0)
    start, stop = start[allowed], stop[allowed]
    size = (stop - start).astype(np.float32)
    return _Stretches(start, stop, size * (n + 1) / 2, np.sqrt(size * (n - size) * (n + 1) / 12))


@functools.lru_cache(maxsize=LONGEST)
def _null(n: int) -> Floats:
    """[SHUFFLES] largest scores of n nights in random order, ascending."""
    rng, among = np.random.default_rng(n), _stretches(n)
    ranks = np.tile(np.arange(1, n + 1, dtype=np.float32), (SHUFFLES, 1))
    rng.permuted(ranks, axis=1, out=ranks)
    largest = [_scores(ranks[first : first + 500], among).max(axis=1) for first in range(0, SHUFFLES, 500)]
    return np.sort(np.concatenate(largest))
