from __future__ import annotations

import copy
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from harness.checkpoint import load_weights
from harness.compression.numerics.dependency import dependencies
from harness.compression.numerics.layers import weighted_layers
from harness.compression.numerics.rearrange import by_exchange, by_norm, filter_norms, rearrange, retained
from harness.compression.numerics.regularity import OneByN, parse
from harness.models.networks.resnet8 import ResNet8
from harness.models.networks.resnet_cifar import CifarResNet

pytestmark = pytest.mark.torch

EXAMPLE = np.zeros((1, 1, 8, 8), np.float32)


@pytest.mark.parametrize(("filters", "n", "sparsity"), [(16, 4, 0.5), (10, 4, 0.75), (7, 8, 0.3), (8, 2, 0.9)])
def test_what_is_retained_is_what_the_mask_keeps(filters: int, n: int, sparsity: float) -> None:
    weight = torch.randn(filters, 6, 3, 3).double()
    norms, order = weight.abs().flatten(2).sum(2).numpy(), np.random.default_rng(0).permutation(filters)
    moved = weight[torch.from_numpy(order)]
    kept = float((moved.abs() * OneByN(n).mask(moved, sparsity)).sum())
    assert retained([norms], order, n, sparsity) == pytest.approx(kept)


def test_sorting_puts_the_largest_filters_first_and_equal_ones_as_they_were() -> None:
    norms = [np.array([[1.0, 1.0], [3.0, 0.0], [0.0, 2.0], [4.0, 4.0]]), np.zeros((4, 1))]
    assert by_norm(norms).tolist() == [3, 1, 0, 2]


@pytest.mark.parametrize("seed", range(4))
def test_exchanging_finds_the_best_order_of_a_few_filters(seed: int) -> None:
    """Against all orders; it may stop at one that no single exchange betters, within 2 % of the best."""
    rng = np.random.default_rng(seed)
    norms = [rng.random((6, 5)) ** 3, rng.random((6, 3))]
    best = max(retained(norms, np.array(order), 2, 0.5) for order in itertools.permutations(range(6)))
    start = by_norm(norms)
    found = by_exchange(norms, start, 2, 0.5, np.random.default_rng(0))
    assert sorted(found.tolist()) == list(range(6))
    assert retained(norms, start, 2, 0.5) <= retained(norms, found, 2, 0.5) <= best * (1 + 1e-12)
    assert retained(norms, found, 2, 0.5) >= 0.98 * best


def test_exchanging_finds_filters_that_need_the_same_channels() -> None:
    """Even filters need the first half of the channels, odd ones the second: sorted by norm they are mixed."""
    norms = np.zeros((16, 8))
    norms[::2, :4] = norms[1::2, 4:] = 1.0
    found = by_exchange([norms], by_norm([norms]), 8, 0.5, np.random.default_rng(0))
    assert retained([norms], by_norm([norms]), 8, 0.5) == pytest.approx(norms.sum() / 2)
    assert retained([norms], found, 8, 0.5) == pytest.approx(norms.sum())


def test_one_block_of_all_filters_is_left_as_it_is() -> None:
    norms = [np.random.default_rng(0).random((4, 3))]
    assert by_exchange(norms, np.arange(4), 4, 0.5, np.random.default_rng(0)).tolist() == [0, 1, 2, 3]


def test_norms_are_of_the_pruned_layers_that_make_the_channels() -> None:
    network = ResNet8(1, 10, 4)
    groups = dependencies(network, EXAMPLE).groups
    pruned = {"block1.conv1", "block1.conv2", "block2.conv2", "block2.shortcut"}
    found = [dict(zip(*filter_norms(network, group, pruned), strict=True)) for group in groups]
    assert [set(layers) for layers in found if layers] == [
        {"block1.conv2"},
        {"block1.conv1"},
        {"block2.conv2", "block2.shortcut"},
    ]
    for name, matrix in [pair for layers in found for pair in layers.items()]:
        weight = network.get_parameter(f"{name}.weight").detach().double()
        assert np.allclose(matrix, weight.abs().sum((2, 3)).numpy())


@pytest.mark.parametrize("exchange", [False, True])
def test_a_rearranged_network_computes_the_same(exchange: bool) -> None:
    """ResNet-8: streams with 1x1 convolutions around, batch-norm, biases; and what is logged is what happened."""
    original = ResNet8(1, 10, 8).eval()
    network, pruned = copy.deepcopy(original), [f"block{b}.conv{c}" for b in (1, 2, 3) for c in (1, 2)]
    found = rearrange(network, pruned, EXAMPLE, 4, 0.5, exchange, np.random.default_rng(0))
    assert sorted(name for moved in found for name in moved.layers) == pruned
    assert all(moved.taken == (moved.after > moved.before) for moved in found)
    assert any(moved.taken for moved in found)
    x = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        expected, answer = original(x), network(x)
    assert float((expected - answer).abs().max()) <= 1e-5 * float(expected.abs().max()) + 1e-5
    for moved in found:
        layers = [
            (net.get_parameter(f"{name}.weight").detach(), OneByN(4)) for net in (original, network) for name in moved.layers
        ]
        kept = [float((w.abs() * one.mask(w, 0.5)).sum() / len(moved.layers)) for w, one in layers]
        was, now = sum(kept[: len(moved.layers)]), sum(kept[len(moved.layers) :])
        assert now / was == pytest.approx(max(moved.after, moved.before) / moved.before, rel=1e-5)


def test_depthwise_filters_between_move_with_their_channels() -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.Conv2d(8, 16, 1),
        nn.BatchNorm2d(16),
        nn.Conv2d(16, 16, 3, groups=16),
        nn.Conv2d(16, 10, 4),
        nn.Flatten(),
    ).eval()
    nn.init.normal_(module.get_parameter("2.weight"))
    network = copy.deepcopy(module)
    (moved,) = rearrange(network, ["1"], EXAMPLE, 4, 0.5, True, np.random.default_rng(0))
    assert moved.taken
    x = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        assert torch.allclose(module(x), network(x), atol=1e-5)
    assert not torch.equal(module.get_parameter("3.weight"), network.get_parameter("3.weight"))


def test_filters_that_nothing_may_move_keep_their_order() -> None:
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(start_dim=0), nn.Unflatten(0, (1, -1)))
    before = network.get_parameter("0.weight").clone()
    assert rearrange(network, ["0"], EXAMPLE, 4, 0.5, False, np.random.default_rng(0)) == []
    assert torch.equal(before, network.get_parameter("0.weight"))


def test_on_published_resnet20_the_orders_of_the_literature_appear() -> None:
    """Half of the weights: single ones > 1x2 > 1x4 > 1x8 > 1x16 > filters, punched 4x4 > 8x4 > 8x16; rearranging retains more of every 1xN."""
    file = Path(os.environ.get("ASSAY_DATA", "")) / "models" / "akamaster_resnet20_cifar10.safetensors"
    if not file.is_file():
        pytest.skip(f"{file.name} is not in $ASSAY_DATA/models")
    dense = CifarResNet(3, 10, 3)
    load_weights(dense, file)
    names = [name for name in weighted_layers(dense.eval()) if name not in ("conv1", "linear")]

    def kept(network: nn.Module, label: str, power: int = 1) -> float:
        weights = [network.get_parameter(f"{name}.weight").detach().abs() ** power for name in names]
        masks = [parse(label).mask(network.get_parameter(f"{name}.weight"), 0.5) for name in names]
        return sum(float(w[m].sum()) for w, m in zip(weights, masks, strict=True)) / sum(float(w.sum()) for w in weights)

    for power in (1, 2):
        for chain in (
            ["unstructured", "1x2", "1x4", "1x8", "1x16", "filter"],
            ["block-punched 4x4", "block-punched 8x4", "block-punched 8x16"],
        ):
            found = [kept(dense, label, power) for label in chain]
            assert found == sorted(found, reverse=True)
    x = torch.randn(8, 3, 32, 32)
    for n in (4, 16):
        gains = [kept(dense, f"1x{n}")]
        for exchange in (False, True):
            network = copy.deepcopy(dense)
            example = np.zeros((1, 3, 32, 32), np.float32)
            moved = rearrange(network, names, example, n, 0.5, exchange, np.random.default_rng(0))
            assert [layer for group in moved for layer in group.layers] == [name for name in names if name.endswith("conv1")]
            with torch.no_grad():
                expected, answer = dense(x), network(x)
            assert float((expected - answer).abs().max()) <= 1e-5 * float(expected.abs().max()) + 1e-5
            gains.append(kept(network, f"1x{n}"))
        assert gains == sorted(gains)
        assert gains[0] < gains[1] < gains[2]
