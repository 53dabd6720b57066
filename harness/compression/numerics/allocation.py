"""Which option each layer takes, so that the network costs least within a budget: dynamic programming over discrete time, and SPDY's search.

The solver is that of Frantar and Alistarh (SPDY, ICML 2022, arXiv:2201.13096), sec. 3: `time` is whatever adds up over layers
(multiply-accumulates, bytes, bit operations, measured seconds), `cost` whatever is lost by an option.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from harness.errors import UserError

SAMPLED, RESAMPLED = 100, 100
"""Random sensitivities that SPDY begins with; tries for each number of layers that it then resamples together."""
LARGEST_NEIGHBOURHOOD = 0.1
"""Share of the layers that are resampled together first; the last tries change one."""


def allocate(
    costs: Sequence[Sequence[float]], times: Sequence[Sequence[float]], budget: float, buckets: int = 10_000
) -> tuple[int, ...]:
    """The option of each layer: least total cost whose total time is within the budget. UserError where no choice is fast enough.

    `costs` and `times` hold, for each layer, a number for each of its options. Times are rounded up to `buckets` parts of the budget, so
    the budget always holds and the answer is the best there is but for one bucket a layer. Equal costs: the earlier option.
    """
    least = math.fsum(min(layer) for layer in times)
    if not least <= budget * (1 + 1e-9):  # what sums in another order is no excess
        raise UserError(f"no choice keeps the budget of {budget:g}: the cheapest options of all layers together take {least:g}")
    steps = [_in_buckets(layer, budget, buckets) for layer in times]
    if (
        sum(int(layer.min()) for layer in steps) > buckets
    ):  # rounding alone is in the way, and only the cheapest are left to choose
        return tuple(min(range(len(t)), key=lambda i: (t[i], c[i])) for c, t in zip(costs, times, strict=True))
    best = np.zeros(buckets + 1)
    """[buckets + 1] least cost of the layers so far within so many buckets."""
    choices = []
    for cost, step in zip(costs, steps, strict=True):
        reached = np.full((len(step), buckets + 1), np.inf)
        for option, (lost, taken) in enumerate(zip(cost, step.tolist(), strict=True)):
            if taken <= buckets:
                reached[option, taken:] = best[: buckets + 1 - taken] + lost
        choices.append(reached.argmin(0))
        best = reached.min(0)
    left, chosen = buckets, list[int]()
    for layer_choices, step in zip(reversed(choices), reversed(steps), strict=True):
        chosen.append(int(layer_choices[left]))
        left -= int(step[chosen[-1]])
    return tuple(reversed(chosen))


def quadratic_costs(sensitivities: Sequence[float], options: Sequence[int]) -> list[list[float]]:
    """c_l * (i / (S - 1))^2 for the i-th of a layer's S options, from the gentlest to the strongest (SPDY, eq. 4)."""
    return [[c * (i / max(count - 1, 1)) ** 2 for i in range(count)] for c, count in zip(sensitivities, options, strict=True)]


def spdy(
    times: Sequence[Sequence[float]],
    budget: float,
    loss: Callable[[tuple[int, ...]], float],
    rng: np.random.Generator,
    *,
    sampled: int = SAMPLED,
    resampled: int = RESAMPLED,
    buckets: int = 10_000,
) -> tuple[tuple[int, ...], float]:
    """The choice of least measured `loss` that sensitivities in [0, 1] lead the solver to, and that loss; options go from gentle to strong.

    `sampled` random sensitivities, then a local search: k of them are drawn anew, `resampled` times for each k from a tenth of the layers
    down to 1, and kept where the loss falls (SPDY, sec. 3.2). A choice that comes up again is not measured again.
    """
    measured: dict[tuple[int, ...], float] = {}
    counts = [len(layer) for layer in times]

    def measure(sensitivities: npt.NDArray[np.float64]) -> tuple[float, tuple[int, ...]]:
        choice = allocate(quadratic_costs(sensitivities.tolist(), counts), times, budget, buckets)
        if choice not in measured:
            measured[choice] = loss(choice)
        return measured[choice], choice

    tries = [rng.random(len(times)) for _ in range(max(sampled, 1))]
    (least, chosen), best = min(((measure(c), c) for c in tries), key=lambda found: found[0])
    for together in range(math.ceil(LARGEST_NEIGHBOURHOOD * len(times)), 0, -1):
        for _ in range(resampled):
            candidate = best.copy()
            candidate[rng.choice(len(times), together, replace=False)] = rng.random(together)
            reached, choice = measure(candidate)
            if reached < least:
                least, chosen, best = reached, choice, candidate
    return chosen, least


def _in_buckets(times: Sequence[float], budget: float, buckets: int) -> npt.NDArray[np.int64]:
    """Rounded up; what is longer than the budget takes one bucket too many. A budget of 0 admits what takes nothing."""
    if budget == 0:
        return np.array([0 if time == 0 else buckets + 1 for time in times])
    shares = np.array(times, np.float64) / budget * buckets
    shares = np.where(shares <= buckets, shares, buckets + 1)  # what is not finite, too
    whole = np.where(np.abs(shares - shares.round()) < 1e-9 * np.maximum(shares, 1.0), shares.round(), np.ceil(shares))
    return whole.astype(np.int64)
