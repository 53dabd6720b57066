"""How long optimal brain compression takes, and how much memory: ResNet-20 whole, and a layer of ResNet-50's size.

`nox -s bench` runs it in full and prints the figures; nothing is asserted about time. Weights and images are random: what they are makes no difference.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import plugins
from harness.compression.numerics import obs
from harness.compression.numerics.layers import weighted_layers
from harness.compression.numerics.regularity import parse
from harness.context import Context
from harness.criterion import CLASSIFICATION
from harness.data import Batch, DataSpec, Source, Split
from harness.plugins import Choice
from harness.train import Recipe

pytestmark = [pytest.mark.toolchain, pytest.mark.torch]

METHODS = {
    "50 % unstructured": Choice("obs_prune", (("sparsity", 0.5),)),
    "2:4": Choice("obs_prune", (("sparsity", 0.5), ("regularity", "2:4"))),
    "4-bit weights": Choice("obq", (("bits", 4),)),
    "half of the products, six strengths a layer": Choice("obc_mixed", (("budget", 0.5),)),
}


@dataclass(frozen=True, slots=True)
class Images:
    """Random, of CIFAR's size or of a corner of it."""

    count: int
    size: int

    @property
    def spec(self) -> DataSpec:
        return DataSpec((3, self.size, self.size), 10, "random images")

    def source(self) -> Source:
        return Source("here")

    def fingerprint(self) -> str:
        return str(self)

    def load(self, split: Split, size: int | None = None) -> Batch:
        rng = np.random.default_rng(len(split))
        images = rng.standard_normal((self.count, *self.spec.input_shape), np.float32)
        return Batch(images, rng.integers(0, 10, self.count)).first(size)


@pytest.mark.parametrize("what", METHODS)
def test_resnet20_whole(what: str, benchmark: Any, tmp_path: Path) -> None:
    data = Images(1024, 32) if benchmark.enabled else Images(16, 8)
    network = plugins.instantiate("models", Choice("resnet20")).build(data.spec).eval()
    method = replace(plugins.instantiate("methods", METHODS[what]), calibration_samples=data.count)
    context = Context(0, data, Recipe(), CLASSIFICATION, tmp_path / "journal")
    compressed = benchmark.pedantic(lambda: method.compress(network, data, context), rounds=1)
    before, after = weighted_layers(network), weighted_layers(compressed.members[0].reference)
    assert sum(not torch.equal(before[name].weight, layer.weight) for name, layer in after.items()) > len(after) / 2
    if benchmark.enabled:
        print(f"\nResNet-20, {what}: {benchmark.stats.stats.mean:.1f} s")


def test_rows_of_a_large_layer(benchmark: Any) -> None:
    """3x3 of 512 channels: [512, 4608]; its first rows only, each of which takes as long as any."""
    channels, rows = (512, 2) if benchmark.enabled else (8, 2)
    shape = torch.Size((rows, channels, 3, 3))
    torch.manual_seed(0)
    inputs = torch.randn(2 * shape[1:].numel(), shape[1:].numel())
    h = obs.hessian((inputs.T @ inputs).double(), 1e-2)
    of = obs.units(parse("unstructured"), shape)
    steps = shape[1:].numel() // 2
    weight = torch.randn(rows, shape[1:].numel(), dtype=torch.float64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = benchmark.pedantic(lambda: obs.traces(weight, h, of, steps), rounds=1)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert found.order.shape == (rows, steps) and bool((found.loss >= 0).all())
    if benchmark.enabled:
        print(f"\n[512, 4608], 50 %: {benchmark.stats.stats.mean / rows:.1f} s a row, {grown:.0f} MiB beside the Hessian")
