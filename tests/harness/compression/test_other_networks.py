"""Every method on networks it was not written for, barely trained: it works, or says in a sentence why not."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

import harness.compression
from harness.compression.numerics.layers import weighted_layers
from harness.context import Context
from harness.criterion import CLASSIFICATION
from harness.data import Batch, DataSpec, Source, Split
from harness.data.digits import DATA as DIGITS
from harness.errors import UserError
from harness.models.networks.encoder import Encoder
from harness.models.networks.separable import ds_cnn
from harness.train import Recipe

pytestmark = pytest.mark.torch

NAMES = [module.name for module in pkgutil.iter_modules(harness.compression.__path__) if not module.ispkg]
SMALL = {"fine_tune_epochs": 1, "fine_tune_examples": 32, "calibration_samples": 32}
ALWAYS_WORK = {"float32", "int8_ptq", "magnitude_prune", "qat", "codebook", "low_rank", "nm_train", "smart_exchange"}


@dataclasses.dataclass(frozen=True, slots=True)
class Texts:
    """The label is the first token's remainder by 4."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec((6,), 4, "Texts", "int64", 20)

    def source(self) -> Source:
        return Source("here")

    def fingerprint(self) -> str:
        return "texts"

    def load(self, split: Split, size: int | None = None) -> Batch:
        tokens = np.random.default_rng(len(split)).integers(1, 20, (64, 6))
        return Batch(tokens, tokens[:, 0] % 4).first(size)


def network(name: Literal["encoder", "ds_cnn", "mlp"]) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    if name == "encoder":
        return Encoder(20, 6, 4, width=16, layers=1, heads=2, inner=32, dropout=0.1, epsilon=1e-5).eval(), Texts()
    if name == "ds_cnn":
        return ds_cnn(1, 8, 8, 10, 16).eval(), DIGITS()
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).eval(), DIGITS()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("net", ["encoder", "ds_cnn", "mlp"])
def test_it_works_or_says_why_not(name: str, net: Literal["encoder", "ds_cnn", "mlp"], tmp_path: Path) -> None:
    found = importlib.import_module(f"harness.compression.{name}").METHOD
    given = {f.name: 0.5 for f in dataclasses.fields(found) if f.default is dataclasses.MISSING}
    given |= {key: value for key, value in SMALL.items() if key in found.__dataclass_fields__}
    module, data = network(net)
    context = Context(0, data, Recipe(batch_size=16, learning_rate=1e-3), CLASSIFICATION, tmp_path)
    try:
        compressed = found(**given).compress(module, data, context)
    except UserError as error:
        assert name not in ALWAYS_WORK and len(str(error).split()) > 3
        return
    (member,) = compressed.members
    x = torch.tensor(data.load("test").inputs[:5])
    with torch.no_grad():
        assert member.reference(x).shape == module(x).shape
        assert bool(torch.isfinite(member.reference(x)).all())
    assert set(compressed.left_alone) <= {part for part, _ in module.named_modules()}
    assert name not in ALWAYS_WORK or weighted_layers(module).keys() - compressed.left_alone.keys()
