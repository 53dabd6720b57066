from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from harness.compression.numerics.layers import weighted_layers
from harness.compression.numerics.masks import apply_masks
from harness.compression.numerics.tickets import (
    Block,
    activity,
    drawn_anew,
    gathered,
    of_blocks,
    partition,
    regrouped,
    remaining,
    unfilled,
)
from harness.errors import UserError

pytestmark = pytest.mark.torch


def within(matrix: np.ndarray, groups: list[list[int]]) -> int:
    """By hand: in how many columns both rows of a pair are kept, over all pairs of each group."""
    return sum(int((matrix[a] & matrix[b]).sum()) for rows in groups for a, b in itertools.combinations(rows, 2))


def test_each_round_leaves_the_share_it_should_and_brings_nothing_back() -> None:
    weights = {name: torch.randn(shape) for name, shape in (("a", (7, 5, 3, 3)), ("b", (11, 13)))}
    count = sum(weight.numel() for weight in weights.values())
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    for number in range(1, 12):
        before = masks
        weights = {name: torch.randn_like(weight) for name, weight in weights.items()}  # trained on
        masks = remaining(weights, before, 0.8**number)
        assert abs(sum(int(mask.sum()) for mask in masks.values()) - 0.8**number * count) <= 1
        assert not any(bool((masks[name] & ~before[name]).any()) for name in masks)
        least = min(float(weights[name][mask].abs().min()) for name, mask in masks.items() if mask.any())
        gone = [weights[name][before[name] & ~masks[name]].abs() for name in masks]
        assert max(float(g.max()) for g in gone if len(g)) <= least, "of all layers together the smallest leave"


def test_refilling_keeps_as_many_whole_channels_as_the_kept_weights_fill() -> None:
    kept = torch.tensor([36, 36, 11, 0, 0, 0])  # two channels of 36, and eleven weights more
    scores = torch.tensor([1.0, 5.0, 3.0, 3.0, 0.0, 3.0])
    assert unfilled(kept, 36, scores) == (0, 3, 4, 5), "of equal scores the first stays"
    assert unfilled(kept, 36, scores, extra=0.5) == (0, 4)
    assert unfilled(torch.zeros(6), 36, scores) == (0, 2, 3, 4, 5), "a layer without a filter would say nothing"
    assert unfilled(torch.full((6,), 36), 36, scores) == ()
    assert unfilled(kept, 36, scores, round_to=4) == (0, 4)
    assert unfilled(kept, 36, scores, extra=0.75, round_to=4) == (), "there are not twice four"


def test_activity_is_what_filters_answer_and_what_the_loss_would_lose_by_them() -> None:
    """By hand: filters are silenced one by one, by so little that the loss is as good as linear."""
    network = nn.Sequential(nn.Conv2d(2, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(45, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    inputs, labels = torch.randn(1, 2, 5, 5).double(), torch.tensor([2])
    layers = {name: weighted_layers(network)[name] for name in ("0", "3")}

    def loss(outputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, labels)

    answers = activity(network, layers, inputs, None)
    assert torch.allclose(answers["0"], network[0](inputs).detach().abs().mean((0, 2, 3)))
    assert torch.allclose(answers["3"], network[:4](inputs).detach().abs()[0])
    lost, small = activity(network, layers, inputs, loss), 1e-6
    with torch.no_grad():
        for name, places in (("0", 9), ("3", 1)):
            for filter_ in range(len(layers[name].weight)):
                silenced = copy.deepcopy(network)
                silenced.get_parameter(f"{name}.weight")[filter_] *= 1 - small
                silenced.get_parameter(f"{name}.bias")[filter_] *= 1 - small
                change = float(loss(network(inputs)) - loss(silenced(inputs))) / small
                assert abs(change) == pytest.approx(places * float(lost[name][filter_]), rel=1e-3, abs=1e-8)
    assert all(parameter.grad is None for parameter in network.parameters()) and network.training


def test_partitioning_finds_the_parts_that_were_planted() -> None:
    rng = np.random.default_rng(0)
    planted = np.repeat(rng.random((4, 60)) < 0.5, 6, axis=0)
    order = rng.permutation(24)
    noisy = (planted ^ (rng.random(planted.shape) < 0.05))[order]
    assert {frozenset((order[rows] // 6).tolist()) for rows in partition(noisy, 4)} == {frozenset({part}) for part in range(4)}


@pytest.mark.parametrize(("rows", "parts"), [(12, 3), (13, 4), (8, 8), (5, 1), (9, 2)])
def test_partitioning_is_even_and_no_exchange_of_two_rows_betters_it(rows: int, parts: int) -> None:
    matrix = np.random.default_rng(rows).random((rows, 30)) < 0.4
    groups = partition(matrix, parts)
    assert sorted(itertools.chain(*groups)) == list(range(rows))
    assert {len(group) for group in groups} <= {rows // parts, -(-rows // parts)}
    best = within(matrix, groups)
    for one, other in itertools.combinations(range(rows), 2):
        exchanged = [[{one: other, other: one}.get(row, row) for row in group] for group in groups]
        assert within(matrix, exchanged) <= best


def test_rows_that_keep_nothing_are_put_somewhere_once() -> None:
    assert sorted(itertools.chain(*partition(np.zeros((7, 4), bool), 3))) == list(range(7))


@pytest.mark.parametrize("density", [0.1, 0.5])
@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (13, 40), (3, 2, 3, 3)])
def test_regrouping_leaves_dense_blocks_of_the_fullest_columns(shape: tuple[int, ...], density: float) -> None:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < density
    blocks = regrouped(mask, rows=4, widest=10, outweigh=1.5)
    union = of_blocks(blocks, mask.shape)
    matrix, dense = mask.flatten(1), union.flatten(1)
    assert sum(len(block.rows) * len(block.columns) for block in blocks) == int(union.sum()), "blocks do not overlap"
    for block in blocks:
        assert bool(dense[list(block.rows)][:, list(block.columns)].all())
        assert len(block.rows) >= min(4, shape[0]) and 1 <= len(block.columns) <= 10
    for rows in {block.rows for block in blocks}:
        taken = dense[rows[0]]
        counts = matrix[list(rows)].sum(0)
        assert counts[taken].min() >= (counts[~taken].max() if bool((~taken).any()) else 0)
        assert counts[taken].sum() > 1.5 * counts[~taken].sum()
        assert counts[taken].sum() - counts[taken].min() <= 1.5 * (counts[~taken].sum() + counts[taken].min()), (
            "no more than it takes"
        )


def test_regrouping_nothing_gives_no_block() -> None:
    assert regrouped(torch.zeros(8, 8, dtype=torch.bool), 4, 4, 1.5) == []
    assert not of_blocks([], torch.Size((8, 8))).any()
    assert of_blocks([Block((1,), (0, 3))], torch.Size((2, 2, 1, 2))).flatten(1).int().tolist() == [[0, 0, 0, 0], [1, 0, 0, 1]]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.first, self.norm = nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.second = nn.Conv2d(12, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        inner: torch.Tensor = self.second(torch.relu(self.norm(self.first(x))))
        return x + inner


def test_gathering_puts_the_filters_of_a_block_side_by_side_and_changes_no_answer() -> None:
    torch.manual_seed(0)
    network = Residual().eval()
    network.get_buffer("norm.running_mean").normal_()
    x = torch.randn(2, 1, 5, 5)
    blocks = {
        name: regrouped(torch.rand(network.get_parameter(f"{name}.weight").shape) < 0.4, 4, 32, 1.5)
        for name in ("first", "second")
    }
    masks = {name: of_blocks(found, network.get_parameter(f"{name}.weight").shape) for name, found in blocks.items()}
    plain = Residual().eval()
    plain.load_state_dict(network.state_dict())
    apply_masks(plain, masks)
    moved, done = gathered(network, masks, blocks, np.zeros((1, 1, 5, 5), np.float32))
    assert done == ["first"], "`second` adds to a stream that leaves the network"
    apply_masks(network, moved)
    with torch.no_grad():
        assert torch.allclose(network(x), plain(x), atol=1e-5)
    rows = moved["first"].flatten(1)
    assert [bool((rows[i] == rows[i + 1]).all()) for i in range(11)] == [True] * 3 + [False] + [True] * 3 + [False] + [True] * 3
    assert int(moved["second"].sum()) == int(masks["second"].sum())


def test_weights_are_drawn_anew_by_the_seed_alone() -> None:
    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(99)
        network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        network.get_buffer("1.running_mean").fill_(7.0)
        drawn_anew(network, seed)
        assert torch.equal(network.get_buffer("1.running_mean"), torch.zeros(4))
        return network.get_parameter("0.weight").detach()

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))

    class Drawing(nn.Sequential):
        def reset_parameters(self) -> None:
            nn.init.constant_(self.get_parameter("0.weight"), 0.02)

    whole = Drawing(nn.Linear(3, 4))
    drawn_anew(whole, 0)
    assert (whole.get_parameter("0.weight") == 0.02).all(), "what holds others has the last word"

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(1))

    with pytest.raises(UserError, match=r"`0` cannot be drawn anew: its class Own"):
        drawn_anew(nn.Sequential(Own()), 0)
