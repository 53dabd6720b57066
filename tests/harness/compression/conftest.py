"""Trained networks that every method is tried on, and a context for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.context import Context
from harness.criterion import CLASSIFICATION
from harness.data.digits import DATA
from harness.models.resnet8 import MODEL as RESNET8
from harness.models.small_cnn import MODEL as SMALL_CNN
from harness.train import Recipe, train

torch.set_num_threads(1)  # another number sums in another order, and tests that run side by side would only wait for each other

RECIPE = Recipe(epochs=10, batch_size=64, learning_rate=4e-3, weight_decay=1e-2)


def trained(module: nn.Module) -> nn.Module:
    train(module, DATA(), RECIPE, seed=0)
    return module


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
