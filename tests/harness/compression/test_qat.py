from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from harness.check import check
from harness.compression import Member
from harness.compression.numerics.fake_quant import quantize_weight
from harness.compression.numerics.layers import weighted_layers
from harness.compression.qat import METHOD
from harness.context import Context
from harness.data.digits import DATA
from harness.train import evaluate

pytestmark = pytest.mark.torch
NewContext = Callable[..., Context]


def compressed(module: nn.Module, context: Context, **given: Any) -> Member:
    (member,) = METHOD(**given).compress(module, DATA(), context).members
    return member


def top1(member: Member) -> float:
    return evaluate(member.reference, DATA().load("test"))["top1"]


@pytest.mark.parametrize(("bits", "most"), [(1, 2), ("ternary", 3), (2, 3), (3, 7)])
def test_filters_have_as_few_values_as_their_bits_allow_and_the_edges_more(
    cnn: nn.Module, new_context: NewContext, bits: Any, most: int
) -> None:
    given = {"weight_bits": bits, "activation_bits": "float", "fine_tune_epochs": 1, "fine_tune_examples": 256}
    member = compressed(cnn, new_context(), **given, edge_bits=4)
    for name, layer in weighted_layers(member.module).items():
        allowed = 15 if name in ("conv1", "classifier") else most
        assert all(len(set(row.flatten().tolist())) <= allowed for row in layer.weight)
    sizes = {"conv2": 16 * 72, "conv3": 16 * 144}
    code = 2 if bits == "ternary" else bits
    stored = code * sum(sizes.values()) + 4 * (72 + 160)
    assert member.claims.weight_bytes == -(-stored // 8) + 4 * (2 * 40 + 10) + 4 * (8 + 16 + 16 + 10)


def test_eight_bits_of_both_are_an_integer_network_whose_codes_the_backends_find_again(
    cnn: nn.Module, new_context: NewContext
) -> None:
    found = METHOD(fine_tune_epochs=1, fine_tune_examples=256).compress(cnn, DATA(), new_context())
    assert (found.numeric, found.quantization and found.quantization.weight_bits) == ("int8", 8)
    for layer in weighted_layers(found.members[0].module).values():
        again = quantize_weight(layer.weight, per_channel=True)
        assert torch.allclose(again.dequantized(), layer.weight, atol=1e-7)
    assert top1(found.members[0]) > 0.94
    assert METHOD(weight_bits=8, activation_bits=4).numeric == METHOD(activation_bits="float").numeric == "float32"


def test_training_wins_accuracy_back_and_fewer_bits_cost_more(resnet: nn.Module, new_context: NewContext) -> None:
    dense = evaluate(resnet, DATA().load("test"))["top1"]
    found = {bits: top1(compressed(resnet, new_context(), weight_bits=bits, activation_bits=8)) for bits in (4, "ternary", 1)}
    untrained = top1(compressed(resnet, new_context(), weight_bits=1, activation_bits=8, fine_tune_epochs=0))
    assert found[4] > dense - 0.02
    assert found["ternary"] > found[1] > untrained + 0.2
    assert top1(compressed(resnet, new_context(), weight_bits=1, activation_bits=1)) < found[1]


def test_activations_are_rounded_in_the_network_and_the_member_says_what_it_would_answer_without(
    cnn: nn.Module, new_context: NewContext
) -> None:
    member = compressed(cnn, new_context(), weight_bits=4, activation_bits=3, fine_tune_epochs=0)
    assert member.unrounded is not None
    x = torch.tensor(DATA().load("test").inputs[:64])
    with torch.no_grad():
        rounded, unrounded = member.module(x), member.unrounded(x)
        nudged = member.module(x + 1e-6)  # as another order of sums would
    assert not torch.allclose(rounded, unrounded, rtol=1e-2)
    answers = [array.numpy() for array in (nudged, rounded, unrounded)]
    assert check(answers[:1], answers[1:2], "float32", answers[2:]).passed
    shuffled = rounded.flip(0).numpy()
    assert not check([shuffled], answers[1:2], "float32", answers[2:]).passed


def test_the_dense_network_is_the_teacher(new_context: NewContext) -> None:
    """In 8 bits it is nearly its own teacher: who learns of that one alone has nothing to learn."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    losses = {}
    for share in (0.0, 0.5, 1.0):
        method = METHOD(activation_bits="float", teacher=share, rate=1e-6)
        log = method.compress(module, DATA(), new_context()).log
        (losses[share],) = (event["loss"] for event in log if event["event"] == "epoch")
    assert losses[0.0] > 2.0
    assert losses[1.0] < 1e-3
    assert losses[0.5] == pytest.approx((losses[0.0] + losses[1.0]) / 2, rel=1e-3)


class Used(nn.Module):
    """The weight of `head` is used without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(self.hidden(x.flatten(1)).relu(), self.head.weight, self.head.bias)


def test_a_layer_whose_inputs_cannot_be_rounded_is_named(new_context: NewContext) -> None:
    given = {"weight_bits": 4, "edge_bits": 4, "fine_tune_epochs": 0}
    rounded = METHOD(**given, activation_bits=4).compress(Used().eval(), DATA(), new_context())
    assert rounded.left_alone == {"head": "its inputs stay float: its weight is used without calling it"}
    assert all(len(row.unique()) <= 15 for row in rounded.members[0].module.get_parameter("head.weight"))
    assert METHOD(**given, activation_bits="float").compress(Used().eval(), DATA(), new_context()).left_alone == {}


@pytest.mark.parametrize(
    "document", ['{"weight_bits": 0}', '{"weight_bits": "binary"}', '{"activation_bits": 9}', '{"edge_bits": 1}']
)
def test_widths_that_there_are_not_are_refused(document: str) -> None:
    good = {"weight_bits": "ternary", "activation_bits": "float"}
    assert TypeAdapter(METHOD).validate_json(json.dumps(good), strict=True) == METHOD(
        weight_bits="ternary", activation_bits="float"
    )
    with pytest.raises(ValidationError):
        TypeAdapter(METHOD).validate_json(json.dumps(good | json.loads(document)), strict=True)
