from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from annotated_types import Gt
from pydantic import TypeAdapter, ValidationError
from torch import nn

from harness import plugins
from harness.compression.numerics.tuning import Tuning
from harness.context import Context
from harness.criterion import CLASSIFICATION
from harness.data.digits import DATA
from harness.train import Recipe

pytestmark = pytest.mark.torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Trains(Tuning):
    own: int = 3


def context(folder: Path) -> Context:
    return Context(0, DATA(), Recipe(epochs=9, learning_rate=0.4, warmup_epochs=1.0), CLASSIFICATION, folder)


def test_the_recipe_is_the_models_own_but_for_length_height_and_examples(tmp_path: Path) -> None:
    found = Trains(rate=0.25, fine_tune_examples=100).recipe(context(tmp_path), 2)
    assert found == Recipe(epochs=2, learning_rate=0.1, epoch_examples=100)


def test_there_is_no_loss_of_its_own_without_a_teacher(tmp_path: Path) -> None:
    dense, x, plain = nn.Linear(3, 2), torch.randn(4, 3), torch.tensor(5.0)
    assert Trains().loss(dense, context(tmp_path)) is None
    loss = Trains(teacher=1.0).loss(dense, context(tmp_path))
    assert loss is not None
    assert float(loss(nn.Identity(), x, dense(x).detach(), plain)) == pytest.approx(0.0, abs=1e-6)
    assert float(loss(nn.Identity(), x, -dense(x).detach(), plain)) > 1e-3


def test_inherited_parameters_are_validated_and_told_behind_a_methods_own() -> None:
    for document in (
        '{"rate": 0}',
        '{"teacher": 1.1}',
        '{"fine_tune_epochs": -1}',
        '{"temperature": 0}',
        '{"fine_tune_examples": 0.5}',
    ):
        with pytest.raises(ValidationError):
            TypeAdapter(Trains).validate_json(json.dumps(json.loads(document)), strict=True)
    choice = plugins.resolve("methods", "codebook", {"teacher": 0.5, "bits": 2})
    assert choice.label == "codebook(bits=2, teacher=0.5)"
    told = plugins.parameters("methods", "codebook")
    assert told[0].startswith("bits = 4 (int ≥ 1, ≤ 8")
    assert any(text.startswith(f"rate = 1.0 (float > {Gt(0).gt}") for text in told[1:])
