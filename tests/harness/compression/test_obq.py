from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from harness.compression.numerics.layers import weighted_layers
from harness.compression.obq import METHOD
from harness.context import Context
from harness.data.digits import DATA
from harness.train import evaluate

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("compiler_cache")]
NewContext = Callable[..., Context]


def top1(method: METHOD, module: nn.Module, context: Context) -> float:
    return evaluate(method.compress(module, DATA(), context).members[0].module, DATA().load("test"))["top1"]


def test_two_bits_without_training_lose_far_less_than_rounding_to_them(cnn: nn.Module, new_context: NewContext) -> None:
    ours, rounded = (top1(METHOD(bits=2, solver=solver), cnn, new_context()) for solver in ("obs", "plain"))
    assert ours > rounded + 0.1
    assert ours > 0.8


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 5])
def test_each_filter_has_as_many_values_as_the_bits_allow_and_claims_say_so(
    resnet: nn.Module, new_context: NewContext, bits: int, symmetric: bool
) -> None:
    method = METHOD(bits=bits, symmetric=symmetric, calibration_samples=128)
    (member,) = method.compress(resnet, DATA(), new_context()).members
    layers = weighted_layers(member.module)
    assert all(len(row.unique()) <= 2**bits for layer in layers.values() for row in layer.weight.detach().flatten(1))
    assert member.claims.weight_bits == bits
    weights, filters = (sum(size) for size in zip(*((w.weight.numel(), len(w.weight)) for w in layers.values()), strict=True))
    others = member.claims.params - weights
    assert member.claims.weight_bytes == -(-weights * bits // 8) + 4 * (others + filters * (1 if symmetric else 2))


def test_skipped_layers_stay_as_they_are(cnn: nn.Module, new_context: NewContext) -> None:
    compressed = METHOD(bits=3, skip=("conv1",), calibration_samples=64).compress(cnn, DATA(), new_context())
    before, after = (weighted_layers(module)["conv1"].weight for module in (cnn, compressed.members[0].module))
    assert bool((before == after).all())
    assert compressed.left_alone == {"conv1": "named in `skip`"}
