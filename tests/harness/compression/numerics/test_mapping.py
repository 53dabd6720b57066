"""Maps by rules and by search, on a made-up table whose answers are known."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from harness.compression.numerics.batchnorm import reset_batchnorm
from harness.compression.numerics.layers import Layer, weighted_layers
from harness.compression.numerics.mapping import (
    Allocation,
    Space,
    at_densities,
    density_of,
    label_of,
    mask_of,
    one_shot,
    rule_map,
    rule_within,
    time_of,
    uniform_map,
)
from harness.compression.numerics.regularity import parse
from harness.compression.numerics.scheme import Scheme
from harness.errors import UserError
from harness.latency_table import DENSE, LatencyTable
from harness.search import Goal, Reinforce, Searcher, exhaustive, random_search, searched

pytestmark = pytest.mark.torch

NewTable = Callable[[nn.Module], LatencyTable]
PUNCHED = ("block-punched 4x1", "block-punched 8x1", "block-punched 8x4")


def network() -> nn.Module:
    """A 3x3 convolution, a depthwise one, a 1x1 one, a linear layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, groups=16),
            nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
        ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def layers() -> dict[str, Layer]:
    return weighted_layers(network())


@pytest.fixture(scope="module")
def table(new_table: NewTable) -> LatencyTable:
    return new_table(network())


def test_a_uniform_map_says_who_does_not_take_it(layers: dict[str, Layer]) -> None:
    chosen, left_alone = uniform_map(layers, "block-punched 8x1", 0.6)
    assert chosen == {name: Scheme(parse("block-punched 8x1"), 0.6) for name in ("0", "6", "10")}
    assert set(left_alone) == {"3"} and "16 groups" in left_alone["3"]


def test_the_rules_go_by_what_a_layer_is(layers: dict[str, Layer], table: LatencyTable) -> None:
    easy, left_alone = rule_map(layers, table, 0.6, beta=0.2, is_hard=False)
    assert {name: label_of(scheme).split()[0] for name, scheme in easy.items()} == {
        "0": "block-punched",
        "6": "block-punched",
        "10": "block",
    }
    assert set(left_alone) == {"3"} and "depthwise" in left_alone["3"]
    hard, _ = rule_map(layers, table, 0.6, beta=0.2, is_hard=True)
    assert hard == easy | {"0": Scheme(parse("pattern"), 0.6)}


def test_the_rules_take_the_smallest_block_that_is_fast_enough(layers: dict[str, Layer], table: LatencyTable) -> None:
    def scheme(beta: float) -> str:
        return str(rule_map(layers, table, 0.6, beta=beta, is_hard=False)[0]["0"].regularity)

    assert (scheme(0.0), scheme(0.2), scheme(9.0)) == ("block-punched 8x4", "block-punched 8x1", "block-punched 4x1")


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("scheme", [*PUNCHED, "unstructured"])
def test_the_rules_are_within_beta_of_every_uniform_map(
    scheme: str, beta: float, layers: dict[str, Layer], table: LatencyTable
) -> None:
    """With beta 0 no uniform map is faster, however coarse; one as fine is never faster at any beta."""
    convolutions = {name: layer for name, layer in layers.items() if name in ("0", "6")}
    rules, _ = rule_map(convolutions, table, 0.6, beta=beta, is_hard=False)
    uniform, _ = uniform_map(convolutions, scheme, 0.6)
    by_rules, by_one = table.most_s(at_densities(convolutions, rules)), table.most_s(at_densities(convolutions, uniform))
    assert by_rules <= (1 + beta) * by_one * (1 + 1e-9)
    finer = all(
        PUNCHED.index(label_of(option)) >= (PUNCHED.index(scheme) if scheme in PUNCHED else 0) for option in rules.values()
    )
    assert by_rules <= by_one * (1 + 1e-9) or not finer


def test_a_layer_that_the_table_has_nothing_for_stays_dense(layers: dict[str, Layer], table: LatencyTable) -> None:
    chosen, left_alone = rule_map(layers, table, 0.7, beta=0.2, is_hard=False)
    assert chosen == {} and "no BlockPunched of sparsity 0.7" in left_alone["0"]


def test_within_a_limit_the_rules_prune_as_little_as_they_can(layers: dict[str, Layer], table: LatencyTable) -> None:
    mild, strong = (
        table.most_s(at_densities(layers, rule_map(layers, table, s, beta=0.2, is_hard=False)[0])) for s in (0.6, 0.8)
    )
    assert strong < mild
    for limit_s, sparsity in ((mild, 0.6), (mild * 0.999, 0.8), (strong, 0.8)):
        chosen, _ = rule_within(layers, table, limit_s, beta=0.2, is_hard=False)
        assert {option.sparsity for option in chosen.values()} == {sparsity}
    with pytest.raises(UserError, match=r"the fastest takes .* Measured are sparsities 0.6, 0.8"):
        rule_within(layers, table, strong * 0.999, beta=0.2, is_hard=False)


def test_a_space_costs_what_the_table_says_at_most(layers: dict[str, Layer], table: LatencyTable) -> None:
    space, rng = Space(layers, table), np.random.default_rng(0)
    for _ in range(20):
        policy = tuple(int(rng.integers(size)) for size in space.cost.sizes)
        assert space.policy(space.chosen(policy)) == policy
        assert space.cost(policy) == pytest.approx(table.most_s(at_densities(layers, space.chosen(policy))))


def test_layers_that_are_not_searched_count_as_dense(layers: dict[str, Layer], table: LatencyTable) -> None:
    space = Space({"0": layers["0"]}, table)
    assert space.cost((0,)) == pytest.approx(table.most_s({}))
    assert space.choices["0"][0] is None


def test_losses_are_the_energy_that_leaves(layers: dict[str, Layer], table: LatencyTable) -> None:
    space = Space(layers, table)
    for (name, options), losses in zip(space.choices.items(), space.losses(), strict=True):
        weight = layers[name].weight.detach().double().numpy()
        for option, loss in zip(options, losses, strict=True):
            kept = mask_of(option, layers[name].weight.detach()).numpy()
            assert loss == pytest.approx((weight[~kept] ** 2).sum() / (weight**2).sum())
        assert losses[0] == 0


def goal_of(space: Space, share: float, trials: int) -> Goal:
    dense = space.cost(space.policy({}))
    least = space.cost(space.cost.cheapest)
    return Goal(space.cost, least + share * (dense - least), trials, space.cost.cheapest)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 0.8])
def test_allocation_begins_at_the_least_loss_of_all_policies(share: float, new_table: NewTable) -> None:
    """Quality that is the plain sum of losses: what the solver finds at once is the best of all, but for the rounding of times."""
    layers = dict(itertools.islice(weighted_layers(network()).items(), 4))
    space = Space(layers, new_table(network()))
    losses = space.losses()

    def quality(policy: tuple[int, ...]) -> float:
        return -sum(own[option] for own, option in zip(losses, policy, strict=True))

    goal = goal_of(space, share, 10)
    found = searched(Allocation(losses), goal, quality, np.random.default_rng(0))
    every = searched(exhaustive, goal_of(space, share, 10**6), quality, np.random.default_rng(0))
    tighter = searched(exhaustive, goal_of(space, max(share - 1e-3, 0.0), 10**6), quality, np.random.default_rng(0))
    assert tighter.best.quality <= found.best.quality <= every.best.quality
    assert all(goal.allows(trial.policy) for trial in found.trials) and len(found.trials) == 10


@pytest.mark.parametrize("by", ["random", "reinforce", "allocation"])
def test_no_search_ends_below_the_rules(by: str, resnet: nn.Module, new_table: NewTable) -> None:
    """Real networks, real masks, made-up quality with interactions between layers."""
    layers, table = weighted_layers(resnet), new_table(resnet)
    space = Space(layers, table)
    rules, _ = rule_map(layers, table, 0.6, beta=0.2, is_hard=False)
    draws = np.random.default_rng(1).random((len(space.cost.sizes), max(space.cost.sizes)))

    def quality(policy: tuple[int, ...]) -> float:
        return float(np.sin(sum(draws[layer, option] for layer, option in enumerate(policy))))

    goal = Goal(space.cost, table.most_s(at_densities(layers, rules)), 20, space.policy(rules))
    searchers: dict[str, Searcher] = {"random": random_search, "reinforce": Reinforce(), "allocation": Allocation(space.losses())}
    found = searched(searchers[by], goal, quality, np.random.default_rng(0))
    assert found.best.quality >= quality(space.policy(rules))
    assert table.most_s(at_densities(layers, space.chosen(found.best.policy))) <= goal.limit * (1 + 1e-9)


def test_one_shot_prunes_a_copy_and_sets_batchnorm_anew(table: LatencyTable) -> None:
    dense = network()
    space = Space(weighted_layers(dense), table)
    inputs = torch.randn(16, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    policy = space.policy({"0": Scheme(parse("unstructured"), 0.8)})
    by_hand = copy.deepcopy(dense)
    with torch.no_grad():
        by_hand[0].weight *= mask_of(Scheme(parse("unstructured"), 0.8), by_hand[0].weight)  # type: ignore[index]
    reset_batchnorm(by_hand, inputs)
    seen: list[nn.Module] = []

    def quality(pruned: nn.Module) -> float:
        seen.append(pruned)
        return float(pruned(inputs).sum())

    with torch.no_grad():
        before = dense(inputs)
        assert one_shot(dense, space, inputs, quality)(policy) == float(by_hand(inputs).sum())
        assert torch.equal(dense(inputs), before) and not torch.equal(seen[0](inputs), before)


def test_times_are_looked_up_at_the_density_that_a_mask_leaves(layers: dict[str, Layer], table: LatencyTable) -> None:
    option = Scheme(parse("block-punched 8x4"), 0.6)
    density = density_of(option, layers["0"].weight.detach())
    assert density != 1 - option.sparsity, "blocks are whole, so this layer keeps more or less than asked"
    assert time_of(table, "0", layers["0"], option) == table.time_s("0", label_of(option), density)
    assert time_of(table, "0", layers["0"], None) == table.time_s("0", DENSE, 1.0)
