from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from harness.compiler.smallest import smallest
from harness.compression.magnitude_prune import METHOD
from harness.compression.numerics.layers import weighted_layers
from harness.context import Context
from harness.data.digits import DATA
from harness.errors import UserError
from harness.train import evaluate

pytestmark = pytest.mark.torch
NewContext = Callable[..., Context]


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: layer.weight.detach() for name, layer in weighted_layers(module).items()}


def zeros(module: nn.Module) -> dict[str, int]:
    return {name: int((weight == 0).sum()) for name, weight in weights(module).items()}


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.777, 0.99])
@pytest.mark.parametrize("scope", ["global", "local"])
def test_exactly_the_asked_share_is_zero(
    cnn: nn.Module, new_context: NewContext, sparsity: float, scope: Literal["global", "local"]
) -> None:
    (member,) = METHOD(sparsity=sparsity, scope=scope).compress(cnn, DATA(), new_context()).members
    sizes = {name: weight.numel() for name, weight in weights(cnn).items()}
    if scope == "global":
        assert sum(zeros(member.module).values()) == round(sparsity * sum(sizes.values()))
    else:
        assert zeros(member.module) == {name: round(sparsity * size) for name, size in sizes.items()}
    assert member.claims.nonzero_params == member.claims.params - sum(zeros(member.module).values())


def test_the_smallest_weights_go_and_the_others_stay(cnn: nn.Module, new_context: NewContext) -> None:
    pruned = weights(METHOD(sparsity=0.6).compress(cnn, DATA(), new_context()).members[0].module)
    threshold = torch.cat([w.abs().flatten() for w in weights(cnn).values()]).quantile(0.6)
    for name, weight in weights(cnn).items():
        assert torch.equal(pruned[name], weight * (weight.abs() > threshold))


@pytest.mark.parametrize(("refit", "bn_reset"), [(True, False), (False, True), (True, True)])
def test_zeros_survive_fine_tuning_refit_and_batchnorm_reset(
    resnet: nn.Module, new_context: NewContext, refit: bool, bn_reset: bool
) -> None:
    plain = weights(METHOD(sparsity=0.8).compress(resnet, DATA(), new_context()).members[0].module)
    method = METHOD(sparsity=0.8, refit=refit, bn_reset=bn_reset, fine_tune_epochs=2)
    tuned = weights(method.compress(resnet, DATA(), new_context()).members[0].module)
    assert all(torch.equal(plain[name] == 0, tuned[name] == 0) for name in plain)
    assert not all(torch.equal(plain[name], tuned[name]) for name in plain)


def test_refit_batchnorm_reset_and_fine_tuning_each_win_accuracy_back(cnn: nn.Module, new_context: NewContext) -> None:
    def top1(method: METHOD) -> float:
        return evaluate(method.compress(cnn, DATA(), new_context()).members[0].module, DATA().load("test"))["top1"]

    plain = top1(METHOD(sparsity=0.8))
    assert plain < 0.6
    assert top1(METHOD(sparsity=0.8, bn_reset=True)) > plain + 0.1
    assert top1(METHOD(sparsity=0.8, refit=True)) > plain + 0.2
    assert top1(METHOD(sparsity=0.8, fine_tune_epochs=4)) > 0.85


def test_skipped_layers_stay_dense_and_do_not_count(cnn: nn.Module, new_context: NewContext) -> None:
    compressed = METHOD(sparsity=0.5, skip=("conv1", "classifier")).compress(cnn, DATA(), new_context())
    found = zeros(compressed.members[0].module)
    assert (found["conv1"], found["classifier"]) == (0, 0)
    assert found["conv2"] + found["conv3"] == round(0.5 * (16 * 8 * 9 + 16 * 16 * 9))
    assert compressed.left_alone == {"conv1": "named in `skip`", "classifier": "named in `skip`"}


def test_an_unknown_layer_to_skip_is_a_user_error_with_the_nearest_name(cnn: nn.Module, new_context: NewContext) -> None:
    with pytest.raises(UserError, match=r"`conv_1`.*Did you mean `conv1`"):
        METHOD(sparsity=0.5, skip=("conv_1",)).compress(cnn, DATA(), new_context())


def test_skipping_every_layer_is_a_user_error(cnn: nn.Module, new_context: NewContext) -> None:
    with pytest.raises(UserError, match="nothing is left to prune"):
        METHOD(sparsity=0.5, skip=tuple(weights(cnn))).compress(cnn, DATA(), new_context())


def test_a_layer_that_refit_does_not_know_is_masked_and_named(new_context: NewContext) -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3, padding="same"), nn.Flatten(), nn.Linear(128, 10))
    compressed = METHOD(sparsity=0.5, refit=True, calibration_samples=20).compress(module, DATA(), new_context())
    pruned = weights(compressed.members[0].module)
    dense = weights(module)
    assert list(compressed.left_alone) == ["0"]
    assert torch.equal(pruned["0"], dense["0"] * (pruned["0"] != 0))
    assert not torch.equal(pruned["2"], dense["2"] * (pruned["2"] != 0))


def test_equal_weights_are_counted_exactly(new_context: NewContext) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.constant_(module.get_parameter("1.weight"), 0.5)
    (member,) = METHOD(sparsity=0.3).compress(module, DATA(), new_context()).members
    assert zeros(member.module) == {"1": 192}


def test_claims_are_macs_of_the_kept_weights_and_bytes_of_the_smallest_format(cnn: nn.Module, new_context: NewContext) -> None:
    (member,) = METHOD(sparsity=0.9, scope="local").compress(cnn, DATA(), new_context()).members
    uses = {"conv1": 64, "conv2": 16, "conv3": 16, "classifier": 1}
    kept = {name: weight.numel() - zeros(member.module)[name] for name, weight in weights(cnn).items()}
    others = 2 * (8 + 16 + 16) + 10
    assert member.claims.nonzero_macs == sum(uses[name] * kept[name] for name in uses)
    bits = sum(smallest(weight.numpy(), 32).bits for weight in weights(member.module).values())
    assert member.claims.weight_bytes == -(-bits // 8) + 4 * others
    bitmap = sum(weight.numel() + 32 * kept[name] for name, weight in weights(cnn).items())
    assert bits <= bitmap and sum(member.claims.formats.values()) == 4


@pytest.mark.parametrize(
    "document", ['{"sparsity": 0}', '{"sparsity": 1}', '{"scope": "layer"}', '{"fine_tune_epochs": -1}', '{"skip": "conv1"}']
)
def test_parameters_out_of_range_are_refused(document: str) -> None:
    good = {"sparsity": 0.5, "skip": ["a", "b"]}
    assert TypeAdapter(METHOD).validate_json(json.dumps(good), strict=True) == METHOD(sparsity=0.5, skip=("a", "b"))
    with pytest.raises(ValidationError):
        TypeAdapter(METHOD).validate_json(json.dumps(good | json.loads(document)), strict=True)
