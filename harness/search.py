"""Search over policies: what each layer of a network takes, what that costs, and how good it is on held-out data.

    Policy -> Cost -> evaluate

A searched method says what each layer may take (a Space), what that costs (a Cost), and how good a policy is (Evaluate); a Searcher proposes
policies. Every searcher has the same number of trials, random search among them: what it finds is what any other must beat.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import BuildError, UserError
from results.record import canonical_sha256

Policy = tuple[int, ...]
"""Which of its options each layer takes, in the layers' order."""
Evaluate = Callable[[Policy], float]
"""Quality of a policy on held-out search data; more is better."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a policy costs: what each layer adds, and what is there whatever the layers take."""

    name: str
    unit: str
    parts: tuple[tuple[float, ...], ...]
    """[layer][option]"""
    fixed: float = 0.0

    def __call__(self, policy: Policy) -> float:
        return self.fixed + math.fsum(options[chosen] for options, chosen in zip(self.parts, policy, strict=True))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Options of each layer."""
        return tuple(map(len, self.parts))

    @property
    def cheapest(self) -> Policy:
        return tuple(min(range(len(options)), key=options.__getitem__) for options in self.parts)


@dataclass(frozen=True, slots=True)
class Trial:
    """A policy that was tried."""

    number: int
    policy: Policy
    cost: float
    quality: float


@dataclass(frozen=True, slots=True)
class Goal:
    """The best quality that costs no more than `limit`, in so many trials."""

    cost: Cost
    limit: float
    trials: int
    start: Policy
    """Tried first, so that what is found is never worse. Within the limit."""

    def allows(self, policy: Policy) -> bool:
        """To a billionth: what sums in another order is no excess."""
        return self.cost(policy) <= self.limit * (1 + 1e-9)


@dataclass
class Search:
    """A search under way: tries policies within the limit, remembers what each gave, and keeps it in a journal.

    The journal has one line for each policy that was evaluated. A searcher draws from a seeded generator and from what it was answered alone:
    after a kill it is run from its beginning, and what it asked before is answered from the journal at once.
    """

    goal: Goal
    evaluate: Evaluate
    journal: Path | None = None
    trials: list[Trial] = field(default_factory=list)
    _known: dict[Policy, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        goal = self.goal
        if not goal.allows(goal.start):
            least = goal.cost(goal.cost.cheapest)
            raise UserError(
                f"the search starts at {goal.cost.name} {goal.cost(goal.start):.4g} {goal.cost.unit}, above its limit of "
                f"{goal.limit:.4g}; the least that can be had is {least:.4g}"
            )
        if self.journal is not None and self.journal.is_file():
            self._known = dict(_read(self.journal))

    @property
    def best(self) -> Trial:
        """Of equal quality the cheapest, then the first."""
        return max(self.trials, key=lambda trial: (trial.quality, -trial.cost, -trial.number))

    @property
    def left(self) -> int:
        return self.goal.trials - len(self.trials)

    def try_(self, policy: Policy) -> Trial:
        """A policy within the limit, evaluated unless it was before; counts as a trial either way."""
        assert self.goal.allows(policy) and self.left > 0, "a searcher proposes what the limit allows, as often as it may"
        if policy not in self._known:
            quality = self.evaluate(policy)
            if not math.isfinite(quality):
                raise BuildError(f"policy {policy} has quality {quality}: it cannot be compared")
            self._known[policy] = quality
            if self.journal is not None:
                _append(self.journal, policy, quality)
        trial = Trial(len(self.trials), policy, self.goal.cost(policy), self._known[policy])
        self.trials.append(trial)
        return trial


Searcher = Callable[[Search, np.random.Generator], None]
"""Tries policies until the search has none left."""


def searched(by: Searcher, goal: Goal, evaluate: Evaluate, rng: np.random.Generator, journal: Path | None = None) -> Search:
    """The whole search. Where there are no more policies than trials, each is tried, and nothing is left to chance."""
    search = Search(goal, evaluate, None if journal is None else journal / f"search-{_identity(goal)}.jsonl")
    search.try_(goal.start)
    if search.left:
        (exhaustive if math.prod(goal.cost.sizes) <= goal.trials else by)(search, rng)
    return search


def exhaustive(search: Search, rng: np.random.Generator) -> None:  # noqa: ARG001 - a searcher that draws nothing
    for policy in policies(search.goal.cost):
        if search.left and policy != search.goal.start and search.goal.allows(policy):
            search.try_(policy)


def policies(cost: Cost) -> Iterator[Policy]:
    return itertools.product(*map(range, cost.sizes))


def random_search(search: Search, rng: np.random.Generator) -> None:
    """Every option of every layer as likely as any other, then brought within the limit."""
    while search.left:
        drawn = tuple(int(rng.integers(size)) for size in search.goal.cost.sizes)
        search.try_(within(drawn, search.goal, rng))


def within(policy: Policy, goal: Goal, rng: np.random.Generator) -> Policy:
    """The policy, or, while it costs too much, with a layer drawn at random on the next cheaper of its options."""
    chosen = list(policy)
    while not goal.allows(tuple(chosen)):
        cheaper = [
            (layer, [o for o, part in enumerate(parts) if part < parts[chosen[layer]]])
            for layer, parts in enumerate(goal.cost.parts)
        ]
        movable = [(layer, options) for layer, options in cheaper if options]
        layer, options = movable[int(rng.integers(len(movable)))]
        chosen[layer] = max(options, key=goal.cost.parts[layer].__getitem__)
    return tuple(chosen)


@dataclass(frozen=True, slots=True)
class Reinforce:
    """A policy gradient over one categorical distribution a layer (Williams 1992, REINFORCE), which begins near the search's start.

    What is drawn above the limit is brought within it and evaluated there; its reward is less by `penalty` for each limit that it was above.
    """

    rate: float = 0.5
    """Step of a logit for an advantage of one standard deviation of the rewards so far."""
    penalty: float = 0.5
    leaning: float = 2.0
    """Logit of the start's options; the others' are 0."""
    memory: float = 0.8
    """Of the moving mean that rewards are compared with."""

    def __call__(self, search: Search, rng: np.random.Generator) -> None:
        goal = search.goal
        logits = [np.zeros(size) for size in goal.cost.sizes]
        for own, option in zip(logits, goal.start, strict=True):
            own[option] = self.leaning
        rewards = [search.trials[0].quality]
        expected = rewards[0]
        while search.left:
            chances = [softmax(own) for own in logits]
            drawn = tuple(int(rng.choice(len(own), p=own)) for own in chances)
            excess = max(0.0, goal.cost(drawn) / goal.limit - 1)
            reward = search.try_(within(drawn, goal, rng)).quality - self.penalty * excess
            rewards.append(reward)
            advantage = (reward - expected) / (float(np.std(rewards)) or 1.0)
            expected = self.memory * expected + (1 - self.memory) * reward
            for own, chance, option in zip(logits, chances, drawn, strict=True):
                own += self.rate * advantage * (np.arange(len(own)) == option) - self.rate * advantage * chance


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers = np.exp(logits - logits.max())
    found: npt.NDArray[np.float64] = powers / powers.sum()
    return found


def _identity(goal: Goal) -> str:
    return canonical_sha256([goal.cost.name, goal.cost.parts, goal.cost.fixed, goal.limit])[:16]


def _append(journal: Path, policy: Policy, quality: float) -> None:
    """On the disk before it counts; on a line of its own, whatever a kill left before it."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"policy": policy, "quality": quality})
    with journal.open("a", encoding="utf-8") as file:
        file.write(f"\n{line} {_digest(line)}")
        file.flush()
        os.fsync(file.fileno())


def _read(journal: Path) -> Iterator[tuple[Policy, float]]:
    """What was evaluated before; a line that a kill cut short is none."""
    for text in journal.read_text(encoding="utf-8").splitlines():
        line, _, digest = text.rpartition(" ")
        if digest == _digest(line):
            document = json.loads(line)
            yield tuple(document["policy"]), document["quality"]


def _digest(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:8]
