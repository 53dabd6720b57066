from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.compression.numerics.allocation import allocate, quadratic_costs, spdy
from harness.errors import UserError

Table = list[list[float]]


def total(table: Table, choice: tuple[int, ...]) -> float:
    return math.fsum(layer[option] for layer, option in zip(table, choice, strict=True))


def brute_force(costs: Table, times: Table, budget: float) -> float:
    """Least cost of all choices within the budget; infinite if there is none."""
    choices = itertools.product(*(range(len(layer)) for layer in costs))
    return min((total(costs, choice) for choice in choices if total(times, choice) <= budget), default=math.inf)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Table, Table, int]:
    """Up to 5 layers of up to 4 options; whole times, so that one bucket a unit of time rounds nothing."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    costs = [[float(draw(st.integers(0, 20))) for _ in range(size)] for size in sizes]
    times = [[float(draw(st.integers(0, 12))) for _ in range(size)] for size in sizes]
    return costs, times, draw(st.integers(1, 50))


@given(problems())
def test_it_is_what_trying_all_choices_finds(problem: tuple[Table, Table, int]) -> None:
    costs, times, budget = problem
    best = brute_force(costs, times, budget)
    if math.isinf(best):
        with pytest.raises(UserError, match="no choice keeps the budget"):
            allocate(costs, times, budget, buckets=budget)
        return
    choice = allocate(costs, times, budget, buckets=budget)
    assert total(times, choice) <= budget
    assert total(costs, choice) == best


@given(problems(), st.floats(0.01, 3.0), st.integers(5, 200))
def test_the_budget_holds_whatever_is_rounded_and_a_bucket_a_layer_is_all_that_is_lost(
    problem: tuple[Table, Table, int], unit: float, buckets: int
) -> None:
    costs, times, budget = problem
    scaled, limit = [[time * unit for time in layer] for layer in times], budget * unit
    slack = limit * (1 - len(costs) / buckets)
    best, cautious = brute_force(costs, scaled, limit), brute_force(costs, scaled, slack * (1 - 1e-9))
    if math.isinf(best):
        return
    choice = allocate(costs, scaled, limit, buckets)
    assert total(scaled, choice) <= limit * (1 + 1e-9)
    assert best <= total(costs, choice) <= cautious


@given(problems())
def test_a_larger_budget_never_costs_more(problem: tuple[Table, Table, int]) -> None:
    costs, times, budget = problem
    reached = []
    for limit in (budget, budget + 5, budget + 30):
        if not math.isinf(brute_force(costs, times, limit)):
            reached.append(total(costs, allocate(costs, times, limit, buckets=limit)))
    assert reached == sorted(reached, reverse=True)


def test_where_only_rounding_is_in_the_way_the_cheapest_options_are_taken() -> None:
    times = [[1.0, 0.35], [0.9, 0.33], [0.31, 0.8]]
    assert allocate([[0.0, 1.0]] * 3, times, budget=1.0, buckets=2) == (1, 1, 0)


def test_what_takes_no_time_is_free_and_a_budget_of_nothing_is_kept() -> None:
    assert allocate([[0.0, 1.0], [0.0, 3.0]], [[5.0, 0.0], [2.0, 0.0]], budget=0.0) == (1, 1)
    with pytest.raises(UserError, match="take 2"):
        allocate([[0.0, 1.0], [0.0]], [[5.0, 0.0], [2.0]], budget=0.0)


def test_equal_costs_take_the_earlier_option() -> None:
    assert allocate([[1.0, 1.0, 1.0]] * 2, [[3.0, 2.0, 1.0]] * 2, budget=10.0) == (0, 0)


@pytest.mark.parametrize("spoiled", [math.nan, math.inf])
def test_a_time_that_is_no_number_is_no_choice(spoiled: float) -> None:
    assert allocate([[0.0, 1.0]], [[math.inf, 1.0]], budget=2.0) == (1,)
    with pytest.raises(UserError):
        allocate([[0.0]], [[spoiled]], budget=2.0)


def test_quadratic_costs_grow_from_the_gentlest_option_to_the_strongest() -> None:
    assert quadratic_costs([2.0, 1.0], [3, 1]) == [[0.0, 0.5, 2.0], [0.0]]


def test_spdy_finds_the_layer_that_matters_and_keeps_the_budget() -> None:
    """One of six layers bears nothing; the loss knows, the solver must find out by its sensitivity."""
    times = [[1.0, 0.75, 0.5, 0.25]] * 6
    weights = np.array([0.1, 0.1, 10.0, 0.1, 0.1, 0.1])
    measured: list[tuple[int, ...]] = []

    def loss(choice: tuple[int, ...]) -> float:
        measured.append(choice)
        return float(weights @ np.array(choice))

    choice, least = spdy(times, 3.0, loss, np.random.default_rng(0), sampled=100, resampled=400, buckets=12)
    assert len(set(measured)) == len(measured)  # none is measured twice
    assert least == min(map(loss, list(measured))) < loss((2,) * 6)
    assert total(times, choice) <= 3.0
    assert choice[2] == min(choice)
    again, _ = spdy(times, 3.0, loss, np.random.default_rng(0), sampled=100, resampled=400, buckets=12)
    assert again == choice
