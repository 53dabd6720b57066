from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from harness.compression.low_rank import METHOD
from harness.compression.numerics.layers import weighted_layers
from harness.context import Context
from harness.data.digits import DATA
from harness.errors import UserError
from harness.train import evaluate

pytestmark = pytest.mark.torch
NewContext = Callable[..., Context]


def test_the_network_really_has_thinner_layers_and_fewer_macs(cnn: nn.Module, new_context: NewContext) -> None:
    compressed = METHOD(ratio=0.5, fine_tune_epochs=0).compress(cnn, DATA(), new_context())
    (member,) = compressed.members
    assert list(weighted_layers(member.module)) == [
        *("conv1", "conv2.0", "conv2.1", "conv2.2", "conv3.0", "conv3.1", "conv3.2", "classifier")
    ]
    dense = {"conv1": 64 * 72, "conv2": 16 * 16 * 72, "conv3": 16 * 16 * 144, "classifier": 160}
    assert member.claims.macs <= dense["conv1"] + dense["classifier"] + 0.5 * (dense["conv2"] + dense["conv3"])
    assert member.claims.macs == member.claims.nonzero_macs
    assert compressed.left_alone == {"conv1": "`edges` is false", "classifier": "`edges` is false"}


def test_edges_are_taken_apart_on_demand(cnn: nn.Module, new_context: NewContext) -> None:
    compressed = METHOD(ratio=0.6, edges=True, fine_tune_epochs=0).compress(cnn, DATA(), new_context())
    assert compressed.left_alone == {}
    assert "classifier.1" in weighted_layers(compressed.members[0].module)


def test_more_energy_costs_less_accuracy_and_training_wins_some_back(cnn: nn.Module, new_context: NewContext) -> None:
    def top1(method: METHOD) -> float:
        return evaluate(method.compress(cnn, DATA(), new_context()).members[0].module, DATA().load("test"))["top1"]

    poor, good = (top1(METHOD(ratio=share, by="energy", fine_tune_epochs=0)) for share in (0.5, 0.9))
    assert good > 0.9 > poor
    assert top1(METHOD(ratio=0.5, by="energy", fine_tune_epochs=3)) > poor + 0.1


def test_nothing_to_take_apart_is_a_user_error(new_context: NewContext) -> None:
    with pytest.raises(UserError, match="no layer is taken apart: 1: `edges` is false"):
        METHOD(ratio=0.5).compress(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), DATA(), new_context())
