from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from harness.compression.numerics.penalty import EPSILON, Admm, reweighted
from harness.compression.numerics.regularity import Filter, OneByN
from harness.compression.numerics.scheme import Scheme

pytestmark = pytest.mark.torch

NOTHING = torch.zeros(0)


@pytest.fixture
def network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 4))


def test_the_group_lasso_is_the_sum_over_units(network: nn.Module) -> None:
    """Three loops; the weights may have moved since the alphas were taken."""
    loss = reweighted(network, {"0": Scheme(OneByN(4), 0.5), "1": Scheme(Filter(), 0.5)}, 0.3)
    before, moved = copy.deepcopy(network), network
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.mul_(1.5).add_(0.1)
    total = 0.0
    for top in (0, 4):
        for channel in range(6):
            was = float(before.get_parameter("0.weight").detach()[top : top + 4, channel].square().sum())
            total += float(moved.get_parameter("0.weight").detach()[top : top + 4, channel].square().sum()) / (was + EPSILON)
    for row in range(4):
        was = float(before.get_parameter("1.weight").detach()[row].square().sum())
        total += float(moved.get_parameter("1.weight").detach()[row].square().sum()) / (was + EPSILON)
    found = loss(moved, NOTHING, NOTHING, torch.tensor(2.0))
    assert float(found.detach()) == pytest.approx(2.0 + 0.3 * total, rel=1e-5)


def test_small_units_are_pushed_harder_than_large_ones(network: nn.Module) -> None:
    weight = network.get_parameter("0.weight")
    with torch.no_grad():
        weight[:4] = 0.1
        weight[4:] = 1.0
    loss = reweighted(network, {"0": Scheme(OneByN(4), 0.5)}, 1.0)
    loss(network, NOTHING, NOTHING, torch.tensor(0.0)).backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    relative = weight.grad / weight.detach()
    assert float(relative[:4].min()) > 50 * float(relative[4:].max())


def test_admm_draws_to_the_nearest_pruned_weights(network: nn.Module) -> None:
    """With no other loss, gradient steps reach a network of whole zero units: distances fall towards 0."""
    scheme = Scheme(OneByN(4), 0.5)
    admm = Admm(network, {"0": scheme}, 1e-2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    distances = []
    for _ in range(4):
        for _ in range(20):
            optimizer.zero_grad()
            admm.loss()(network, NOTHING, NOTHING, torch.tensor(0.0)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        distances.append(admm.update(network))
    assert distances[-1] < 0.05 < distances[0]
    weight = network.get_parameter("0.weight").detach()
    outside = weight[~scheme.regularity.mask(weight, 0.5)]
    assert float(outside.abs().max()) < 0.1 * float(weight.abs().max())


def test_admms_first_target_is_the_projection_and_its_loss_the_squared_distance(network: nn.Module) -> None:
    scheme = Scheme(Filter(), 0.5)
    admm = Admm(network, {"1": scheme}, 4.0)
    weight = network.get_parameter("1.weight").detach()
    lost = weight[~scheme.regularity.mask(weight, 0.5)]
    found = admm.loss()(network, NOTHING, NOTHING, torch.tensor(1.0))
    assert float(found.detach()) == pytest.approx(1.0 + 2.0 * float(lost.square().sum()), rel=1e-5)


def test_the_same_rounds_give_the_same_state(network: nn.Module) -> None:
    """What a resumed run replays: weights at the ends of rounds are all it needs."""
    ends = [copy.deepcopy(network) for _ in range(3)]
    for number, end in enumerate(ends):
        with torch.no_grad():
            end.get_parameter("0.weight").mul_(1.0 - 0.2 * number)
    first, second = (Admm(network, {"0": Scheme(OneByN(2), 0.5)}, 1.0) for _ in range(2))
    assert [first.update(end) for end in ends] == [second.update(end) for end in ends]
    assert torch.equal(first.duals["0"], second.duals["0"])
    assert float(first.duals["0"].abs().max()) > 0
