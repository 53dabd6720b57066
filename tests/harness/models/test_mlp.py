from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from harness.data import DataSpec
from harness.data.digits import DATA
from harness.models.mlp import MODEL
from harness.train import evaluate, train

pytestmark = pytest.mark.torch

DIGITS = DATA().spec


def test_any_shape_is_taken_but_only_images_can_be_moved() -> None:
    assert MODEL().accepts(DataSpec((64,), 10, "")) is None
    assert "augment: shift" in str(MODEL(augment="shift").accepts(DataSpec((64,), 10, "")))


def test_hidden_widths_are_the_layers() -> None:
    assert [p.shape for p in MODEL(hidden=(7, 5)).build(DIGITS).parameters() if p.dim() == 2] == [(7, 64), (5, 7), (10, 5)]
    assert [p.shape for p in MODEL(hidden=()).build(DIGITS).parameters() if p.dim() == 2] == [(10, 64)]


def test_hidden_widths_must_be_positive() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(MODEL).validate_json('{"hidden": [8, 0]}', strict=True)


def test_defaults_reach_96_percent_of_the_digits() -> None:
    torch.manual_seed(0)
    network = MODEL().build(DIGITS)
    train(network, DATA(), MODEL().recipe(), seed=0)
    assert evaluate(network, DATA().load("test"))["top1"] > 0.96
