"""Searches against exhaustive enumeration, within their limit, in their trials, and the same again after a kill."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BuildError, UserError
from harness.search import Cost, Evaluate, Goal, Policy, Reinforce, Search, Searcher, random_search, searched, within

SEARCHERS: dict[str, Searcher] = {"random": random_search, "reinforce": Reinforce()}


def made_up(layers: int, options: int, seed: int) -> tuple[Cost, Evaluate]:
    """Options that cost less are worse, each layer to a degree of its own."""
    rng = np.random.default_rng(seed)
    parts = np.sort(rng.random((layers, options)), axis=1)[:, ::-1]
    worth = np.sort(rng.random((layers, options)), axis=1)[:, ::-1]
    cost = Cost("latency", "s", tuple(map(tuple, parts.tolist())), fixed=0.5)
    return cost, lambda policy: float(sum(worth[layer, option] for layer, option in enumerate(policy)))


def best_of_all(cost: Cost, limit: float, evaluate: Evaluate) -> float:
    every = itertools.product(*map(range, cost.sizes))
    return max(evaluate(policy) for policy in every if cost(policy) <= limit)


def middle(cost: Cost) -> float:
    dearest = cost(tuple(max(range(len(own)), key=own.__getitem__) for own in cost.parts))
    return (cost(cost.cheapest) + dearest) / 2


def test_a_cost_is_the_sum_over_layers_and_what_is_fixed() -> None:
    cost = Cost("latency", "s", ((3.0, 1.0), (0.5, 0.25, 2.0)), fixed=10.0)
    assert cost((0, 2)) == 15.0
    assert cost.cheapest == (1, 1) and cost.sizes == (2, 3)
    with pytest.raises(ValueError, match="zip"):
        cost((0,))


@pytest.mark.parametrize("by", SEARCHERS)
@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_a_space_no_larger_than_the_trials_is_searched_whole(by: str, layers: int) -> None:
    cost, evaluate = made_up(layers, 4, seed=layers)
    goal = Goal(cost, middle(cost), 4**layers + 1, cost.cheapest)
    found = searched(SEARCHERS[by], goal, evaluate, np.random.default_rng(0))
    assert found.best.quality == best_of_all(cost, goal.limit, evaluate)


def test_a_policy_gradient_finds_the_optimum_of_four_layers() -> None:
    """Of 1296 policies it tries 300."""
    cost, evaluate = made_up(4, 6, seed=3)
    goal = Goal(cost, middle(cost), 300, cost.cheapest)
    found = searched(Reinforce(), goal, evaluate, np.random.default_rng(0))
    assert found.best.quality == best_of_all(cost, goal.limit, evaluate)


def test_a_policy_gradient_learns_where_chance_does_not() -> None:
    """Among 8**12 policies, over five seeds: more than random search finds in as many trials."""
    better = 0
    for seed in range(5):
        cost, evaluate = made_up(12, 8, seed)
        goal = Goal(cost, middle(cost), 200, cost.cheapest)
        learned, drawn = (searched(by, goal, evaluate, np.random.default_rng(seed)) for by in (Reinforce(), random_search))
        better += learned.best.quality > drawn.best.quality
    assert better >= 4


@given(seed=st.integers(0, 200), by=st.sampled_from(sorted(SEARCHERS)), share=st.floats(0.05, 1.0), trials=st.integers(1, 12))
def test_every_trial_keeps_the_limit_none_is_too_many_and_the_start_is_never_lost(
    seed: int, by: str, share: float, trials: int
) -> None:
    cost, evaluate = made_up(6, 5, seed)
    start = cost.cheapest
    limit = cost(start) + share * (sum(max(own) for own in cost.parts) + cost.fixed - cost(start))
    found = searched(SEARCHERS[by], Goal(cost, limit, trials, start), evaluate, np.random.default_rng(seed))
    assert len(found.trials) == trials and found.trials[0].policy == start
    assert all(trial.cost <= limit * (1 + 1e-9) for trial in found.trials)
    assert found.best.quality >= evaluate(start)


@given(seed=st.integers(0, 200))
def test_what_is_brought_within_the_limit_only_got_cheaper(seed: int) -> None:
    cost, _ = made_up(5, 6, seed)
    rng = np.random.default_rng(seed)
    drawn = tuple(int(rng.integers(6)) for _ in range(5))
    goal = Goal(cost, middle(cost), 1, cost.cheapest)
    found = within(drawn, goal, rng)
    assert goal.allows(found)
    assert all(cost.parts[layer][a] <= cost.parts[layer][b] for layer, (a, b) in enumerate(zip(found, drawn, strict=True)))
    assert found == drawn or cost(drawn) > goal.limit


@pytest.mark.parametrize("by", SEARCHERS)
def test_the_same_seed_gives_the_same_search(by: str) -> None:
    cost, evaluate = made_up(6, 5, 1)
    goal = Goal(cost, middle(cost), 30, cost.cheapest)
    first, again, other = (searched(SEARCHERS[by], goal, evaluate, np.random.default_rng(seed)).trials for seed in (7, 7, 8))
    assert first == again != other


class KilledError(Exception):
    pass


@pytest.mark.parametrize("by", SEARCHERS)
@pytest.mark.parametrize("after", [0, 1, 9])
def test_a_killed_search_goes_on_where_it_was(by: str, after: int, tmp_path: Path) -> None:
    cost, evaluate = made_up(6, 5, 2)
    goal = Goal(cost, middle(cost), 20, cost.cheapest)
    whole = searched(SEARCHERS[by], goal, evaluate, np.random.default_rng(3)).trials
    asked: list[Policy] = []

    def until_killed(policy: Policy) -> float:
        if len(asked) == after:
            raise KilledError
        asked.append(policy)
        return evaluate(policy)

    with pytest.raises(KilledError):
        searched(SEARCHERS[by], goal, until_killed, np.random.default_rng(3), tmp_path)
    again: list[Policy] = []

    def counted(policy: Policy) -> float:
        again.append(policy)
        return evaluate(policy)

    assert searched(SEARCHERS[by], goal, counted, np.random.default_rng(3), tmp_path).trials == whole
    assert not set(asked) & set(again), "what was evaluated before the kill is not evaluated again"


def test_a_line_that_a_kill_cut_short_is_evaluated_again(tmp_path: Path) -> None:
    cost, evaluate = made_up(3, 5, 2)
    goal = Goal(cost, middle(cost), 10, cost.cheapest)
    whole = searched(random_search, goal, evaluate, np.random.default_rng(3), tmp_path).trials
    (journal,) = tmp_path.iterdir()
    journal.write_bytes(journal.read_bytes()[:-5])
    asked: list[Policy] = []

    def counted(policy: Policy) -> float:
        asked.append(policy)
        return evaluate(policy)

    for evaluated in (1, 0):  # the second time, nothing is missing
        asked.clear()
        assert searched(random_search, goal, counted, np.random.default_rng(3), tmp_path).trials == whole
        assert len(asked) == evaluated


def test_a_search_with_another_limit_takes_nothing_from_the_journal(tmp_path: Path) -> None:
    cost, evaluate = made_up(3, 5, 2)
    for limit in (middle(cost), middle(cost) * 1.01):
        searched(random_search, Goal(cost, limit, 5, cost.cheapest), evaluate, np.random.default_rng(3), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_start_above_the_limit_is_refused_with_what_can_be_had() -> None:
    cost = Cost("latency", "s", ((3.0, 1.0), (2.0, 1.0)))
    with pytest.raises(UserError, match=r"starts at latency 5 s, above its limit of 3; the least that can be had is 2"):
        Search(Goal(cost, 3.0, 5, (0, 0)), lambda _: 0.0)


def test_a_quality_that_is_no_number_is_refused() -> None:
    cost = Cost("latency", "s", ((3.0, 1.0),))
    with pytest.raises(BuildError, match="cannot be compared"):
        searched(random_search, Goal(cost, 3.0, 5, (0,)), lambda _: float("nan"), np.random.default_rng(0))


def test_of_equal_quality_the_cheapest_is_the_best() -> None:
    cost = Cost("latency", "s", ((3.0, 1.0, 2.0),))
    assert searched(random_search, Goal(cost, 3.0, 5, (0,)), lambda _: 1.0, np.random.default_rng(0)).best.policy == (1,)
