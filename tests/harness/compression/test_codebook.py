from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from harness.compression.codebook import METHOD
from harness.compression.numerics.layers import weighted_layers
from harness.context import Context
from harness.data.digits import DATA
from harness.errors import UserError
from harness.train import evaluate

pytestmark = pytest.mark.torch
NewContext = Callable[..., Context]


@pytest.mark.parametrize("bits", [1, 3])
def test_layers_have_no_more_values_than_their_tables_also_after_training(
    cnn: nn.Module, new_context: NewContext, bits: int
) -> None:
    method = METHOD(bits=bits, fine_tune_epochs=1, fine_tune_examples=256)
    (member,) = method.compress(cnn, DATA(), new_context()).members
    assert all(len(set(layer.weight.flatten().tolist())) <= 2**bits for layer in weighted_layers(member.module).values())


def test_training_wins_accuracy_back(cnn: nn.Module, new_context: NewContext) -> None:
    def top1(method: METHOD) -> float:
        return evaluate(method.compress(cnn, DATA(), new_context()).members[0].module, DATA().load("test"))["top1"]

    shared = top1(METHOD(bits=2, fine_tune_epochs=0))
    assert shared < 0.7
    assert top1(METHOD(bits=2, fine_tune_epochs=2)) > shared + 0.2
    assert top1(METHOD(bits=5, fine_tune_epochs=0)) > 0.9


def test_storage_is_codes_and_tables_and_layers_too_small_for_one_stay(cnn: nn.Module, new_context: NewContext) -> None:
    compressed = METHOD(bits=7, fine_tune_epochs=0).compress(cnn, DATA(), new_context())
    (member,) = compressed.members
    assert list(compressed.left_alone) == ["conv1", "classifier"]  # of 72 and 160 weights, a table has 128
    assert member.claims.weight_bytes == -(-((1152 + 2304) * 7 + 2 * 128 * 32) // 8) + 4 * (72 + 160 + 2 * 40 + 10)


def test_a_table_that_is_larger_than_every_layer_is_a_user_error(new_context: NewContext) -> None:
    with pytest.raises(UserError, match="no layer has weights enough"):
        METHOD(bits=8).compress(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), DATA(), new_context())
