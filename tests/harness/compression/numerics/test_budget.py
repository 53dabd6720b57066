from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from harness.compression.numerics.budget import Database, Solved, losses_alone, resource_cost, sensitivities, uniform_policies
from harness.compression.numerics.counting import claims
from harness.compression.numerics.regularity import parse
from harness.compression.numerics.surgery import Option
from harness.latency_table import LatencyTable, Layer, Network, Timing
from harness.search import Cost, Goal, Policy, random_search, searched

pytestmark = pytest.mark.torch

EXAMPLE = np.zeros((1, 2, 6, 6), np.float32)
OPTIONS = (Option(), Option(0.5), Option(bits=4), Option(0.5, parse("2:4")))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(16, 3)).eval()


@pytest.fixture
def database(network: nn.Module) -> Database:
    """Of the two convolutions; the linear layer is left alone."""
    found = {}
    for name, options in (("0", OPTIONS[:3]), ("2", OPTIONS)):
        weight = network.get_parameter(f"{name}.weight").detach()
        halved = torch.where(torch.arange(weight.numel()).view_as(weight) % 2 == 0, weight, torch.zeros_like(weight))
        weights = [weight if not option.sparsity else halved for option in options]
        found[name] = Solved(options, tuple(weights), tuple(0.1 * i for i in range(len(options))))
    return found


def stitched(network: nn.Module, database: Database, policy: Policy) -> nn.Module:
    for (name, found), option in zip(database.items(), policy, strict=True):
        network.get_parameter(f"{name}.weight").data.copy_(found.weights[option])
    return network


@pytest.mark.parametrize("policy", [(0, 0), (1, 0), (0, 3), (2, 1)])
def test_macs_are_what_the_claims_count(network: nn.Module, database: Database, policy: Policy) -> None:
    cost = resource_cost("macs", network, EXAMPLE, database, None)
    assert cost(policy) == claims(stitched(network, database, policy), EXAMPLE).nonzero_macs
    assert cost.unit == "MACs"


def test_bops_are_macs_times_the_bits_of_weight_and_activation(network: nn.Module, database: Database) -> None:
    macs, bops = (resource_cost(name, network, EXAMPLE, database, None) for name in ("macs", "bops"))
    assert bops((0, 0)) == 32 * 32 * macs((0, 0))
    assert bops.parts[0][2] == macs.parts[0][0] * 4 * 32
    assert bops.parts[1][3] == bops.parts[1][0] / 2


def test_bytes_are_those_of_the_claims_less_what_no_option_changes(network: nn.Module, database: Database) -> None:
    cost = resource_cost("bytes", network, EXAMPLE, database, None)
    biases = 4 * (8 + 4 + 3)
    for policy in ((0, 0), (1, 0), (1, 1)):
        counted = claims(stitched(network, database, policy), EXAMPLE, sparse=True).weight_bytes
        assert counted - biases == pytest.approx(cost(policy), abs=1)
    assert cost.parts[0][2] == 2 * 8 * 9 * 4 / 8 + 4 * 8


def timing(scheme: str, density: float, time_s: float) -> Timing:
    return Timing(scheme, 1 - density, density, (time_s,))


@pytest.fixture
def table() -> LatencyTable:
    layers = {
        "0": Layer((8, 2, 3, 3), (timing("dense", 1.0, 4.0), timing("unstructured", 0.5, 3.0))),
        "2": Layer((4, 8, 3, 3), (timing("dense", 1.0, 8.0), timing("unstructured", 0.5, 5.0), timing("2:4", 0.5, 4.0))),
        "4": Layer((3, 16), (timing("dense", 1.0, 1.0),)),
    }
    return LatencyTable(
        "net", "data", "b", "t", 1, "measured", "m", {}, {}, 0, layers, (Network("dense", 0.0, (15.0,), (2.0,), ()),)
    )


def test_latency_is_the_tables_sum_and_what_the_network_takes_beside_its_layers(
    network: nn.Module, database: Database, table: LatencyTable
) -> None:
    plain = {
        name: Solved(found.options[:2] + found.options[3:], found.weights[:2] + found.weights[3:], ())
        for name, found in database.items()
    }
    cost = resource_cost("latency", network, EXAMPLE, plain, table)
    assert cost((0, 0)) == 15.0
    assert cost((1, 2)) == 3.0 + 4.0 + 1.0 + 2.0 == table.latency_s({"0": ("unstructured", 0.5), "2": ("2:4", 0.5)})


def test_uniform_policies_take_one_option_wherever_it_is_to_be_had(database: Database) -> None:
    assert list(uniform_policies(database)) == [(0, 0), (1, 1), (2, 2), (0, 3)]


def test_losses_alone_change_one_layer_at_a_time(database: Database) -> None:
    asked: list[Policy] = []

    def quality(policy: Policy) -> float:
        asked.append(policy)
        return -float(10 * policy[0] + policy[1])

    assert losses_alone(database, quality) == [[0.0, 10.0, 20.0], [0.0, 1.0, 2.0, 3.0]]
    assert asked == [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2), (0, 3)]


def test_sensitivities_search_within_the_limit_and_find_what_random_search_does_not() -> None:
    cost = Cost("macs", "MACs", ((1.0, 0.8, 0.6, 0.4, 0.2, 0.1),) * 12, fixed=2.0)
    weights = np.linspace(0.1, 3.0, 12)
    goal = Goal(cost, 8.0, 60, start=(3,) * 12)

    def quality(policy: Policy) -> float:
        return -float(weights @ (np.array(policy) / 5.0) ** 2)

    ours, theirs = (searched(by, goal, quality, np.random.default_rng(1)) for by in (sensitivities, random_search))
    assert all(cost(trial.policy) <= 8.0 for trial in ours.trials)
    assert len(ours.trials) <= goal.trials
    assert ours.best.quality > theirs.best.quality > -math.inf
