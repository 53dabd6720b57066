"""Trained networks that every method is tried on, and a context for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.compression.numerics.layers import Layer, weighted_layers
from harness.compression.numerics.regularity import parse
from harness.context import Context
from harness.criterion import CLASSIFICATION
from harness.data.digits import DATA
from harness.latency_table import DENSE, LatencyTable, Network, Timing
from harness.latency_table import Layer as TableLayer
from harness.models.resnet8 import MODEL as RESNET8
from harness.models.small_cnn import MODEL as SMALL_CNN
from harness.train import Recipe, train

torch.set_num_threads(1)  # another number sums in another order, and tests that run side by side would only wait for each other

RECIPE = Recipe(epochs=10, batch_size=64, learning_rate=4e-3, weight_decay=1e-2)


def trained(module: nn.Module) -> nn.Module:
    train(module, DATA(), RECIPE, seed=0)
    return module


@pytest.fixture(autouse=True)
def fixed_torch_seed() -> None:
    """What a test draws does not depend on which ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def cnn() -> nn.Module:
    """About 97 % on the digits. Shared: a test that edits it breaks the others, which is one of the promises tested."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return trained(SMALL_CNN(width=8).build(DATA().spec))


@pytest.fixture(scope="session")
def resnet() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return trained(RESNET8(width=4).build(DATA().spec))


@pytest.fixture
def new_context(tmp_path: Path) -> Callable[..., Context]:
    """`new_context(seed)`: with a journal folder of its own, so that nothing is taken up from an earlier one."""
    made: list[Context] = []

    def new(seed: int = 0) -> Context:
        made.append(Context(seed, DATA(), RECIPE, CLASSIFICATION, tmp_path / f"journal-{len(made)}"))
        return made[-1]

    return new


@pytest.fixture(scope="session")
def new_table() -> Callable[[nn.Module], LatencyTable]:
    """`new_table(network)`: made up, so that larger blocks are faster, and each layer takes a time of its own."""
    slower = {
        "unstructured": 1.9, "block-punched 4x1": 1.5, "block-punched 8x1": 1.15, "block-punched 8x4": 1.0, "pattern": 1.3,
        "block 2x2": 1.4, "block 8x8": 1.0,
    }  # fmt: skip

    def timings(layer: Layer, dense_s: float) -> Iterator[Timing]:
        yield Timing(DENSE, 0.0, 1.0, (dense_s,))
        for scheme, factor in slower.items():
            for sparsity in (0.6, 0.8):
                if parse(scheme).applies_to(layer) is None:
                    density = float(parse(scheme).mask(layer.weight, sparsity).double().mean())
                    yield Timing(scheme, sparsity, density, (dense_s * min(1.0, 0.05 + factor * density),))

    def new(network: nn.Module) -> LatencyTable:
        layers = {
            name: TableLayer(tuple(layer.weight.shape), tuple(timings(layer, layer.weight.numel() * 1e-9 + 1e-6)))
            for name, layer in weighted_layers(network).items()
        }
        whole = sum(layer.timings[0].samples_s[0] for layer in layers.values())
        networks = (Network(DENSE, 0.0, (whole + 2e-6,), (2e-6,), ("record",)),)
        return LatencyTable("network", "digits", "native", "local", 1, "measured", "machine", {}, {}, 0, layers, networks)

    return new
