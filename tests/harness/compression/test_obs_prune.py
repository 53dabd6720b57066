from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn
from torch.nn import functional

from harness import plugins
from harness.compiler.sparsity import zeros_of
from harness.compression.numerics.layers import weighted_layers
from harness.compression.obs_prune import METHOD
from harness.context import Context
from harness.data.digits import DATA
from harness.errors import UserError
from harness.train import evaluate

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("compiler_cache")]
NewContext = Callable[..., Context]


def test_without_training_it_keeps_what_magnitude_loses(cnn: nn.Module, new_context: NewContext) -> None:
    def top1(method: METHOD) -> float:
        (member,) = method.compress(cnn, DATA(), new_context()).members
        zeros = {name: int((layer.weight == 0).sum()) for name, layer in weighted_layers(member.module).items()}
        assert zeros == {name: round(0.5 * layer.weight.numel()) for name, layer in weighted_layers(cnn).items()}
        return evaluate(member.module, DATA().load("test"))["top1"]

    ours, refit, plain = (top1(METHOD(sparsity=0.5, solver=solver)) for solver in ("obs", "refit", "plain"))
    assert ours > refit > plain + 0.1
    assert ours > 0.85


@pytest.mark.parametrize(("label", "sparsity", "found"), [("2:4", 0.5, "2:4"), ("1:4", 0.75, "1:4")])
def test_n_of_m_is_what_the_compiler_detects_and_layers_it_does_not_fit_are_named(
    resnet: nn.Module, new_context: NewContext, label: str, sparsity: float, found: str
) -> None:
    compressed = METHOD(sparsity=sparsity, regularity=label, calibration_samples=256).compress(resnet, DATA(), new_context())
    (member,) = compressed.members
    stem = next(iter(weighted_layers(resnet)))
    assert "no multiple of 4" in compressed.left_alone[stem]
    for name, layer in weighted_layers(member.module).items():
        if name not in compressed.left_alone and isinstance(layer, nn.Conv2d):
            pattern = zeros_of(layer.weight.detach().permute(2, 3, 1, 0).numpy()).pattern
            assert pattern in (found, "channel") or pattern.startswith(found)


def test_pruned_and_quantized_weights_claim_their_bits_and_indices(cnn: nn.Module, new_context: NewContext) -> None:
    pruned, both = (
        METHOD(sparsity=0.5, bits=bits, calibration_samples=256).compress(cnn, DATA(), new_context()).members[0]
        for bits in (None, 4)
    )
    assert both.claims.weight_bytes < pruned.claims.weight_bytes / 2
    assert both.claims.nonzero_macs <= pruned.claims.nonzero_macs
    assert both.claims.weight_bits < 4 + 1.5  # the weights that stay, and where they are
    for layer in weighted_layers(both.module).values():
        assert all(len(row.unique()) <= 16 for row in layer.weight.detach().flatten(1))


def test_two_of_four_in_int8_is_an_integer_network_that_keeps_its_zeros(resnet: nn.Module, new_context: NewContext) -> None:
    method = METHOD(sparsity=0.5, regularity="2:4", int8=True, calibration_samples=256, skip=("classifier",))
    compressed = method.compress(resnet, DATA(), new_context())
    (member,) = compressed.members
    assert method.numeric == compressed.numeric == "int8" and compressed.quantization is not None
    assert {"no multiple of 4" in reason or reason == "named in `skip`" for reason in compressed.left_alone.values()} == {True}
    for name, layer in weighted_layers(member.module).items():
        if name not in compressed.left_alone:
            kept = layer.weight.detach() != 0
            groups = kept.reshape(len(kept), kept.shape[1] // 4, 4, -1).sum(2)
            assert int(groups.max()) <= 2
    dense, ours = (evaluate(network, DATA().load("test"))["top1"] for network in (resnet, member.reference))
    assert ours > dense - 0.1


class Tied(nn.Module):
    """Layers around a layer norm; the weight of one is used without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.widen, self.narrow, self.norm, self.head = nn.Linear(8, 16), nn.Linear(16, 8), nn.LayerNorm(8), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = self.norm(self.narrow(self.widen(x.flatten(1, 2)).relu()))
        return functional.linear(rows.flatten(1), self.head.weight, self.head.bias)


def test_layer_norms_are_corrected_and_a_layer_that_is_never_called_is_named(new_context: NewContext) -> None:
    torch.manual_seed(0)
    method = METHOD(sparsity=0.5, calibration_samples=64, mean_std=True)
    compressed = method.compress(Tied().eval(), DATA(), new_context())
    (member,) = compressed.members
    assert int((member.module.get_parameter("widen.weight") == 0).sum()) == 64
    assert [event["layers"] for event in compressed.log if event["event"] == "mean_std"] == [1]
    assert compressed.left_alone == {"head": "the network never calls it: its weight is used elsewhere"}


def test_more_calibration_than_there_is_is_a_user_error(cnn: nn.Module, new_context: NewContext) -> None:
    with pytest.raises(UserError, match="training examples"):
        METHOD(sparsity=0.5, calibration_samples=10**6).compress(cnn, DATA(), new_context())


@pytest.mark.parametrize(
    ("regularity", "message"),
    [
        ("pattern", "surgery removes single weights"),
        ("2:5:9", "unknown regularity"),
        ("3:4", r"removes 0\.25 of the weights, not 0\.5"),
        ("block-punched 1x64", "up to 32 weights"),
    ],
)
def test_a_regularity_that_cannot_be_is_refused_at_plan(regularity: str, message: str) -> None:
    with pytest.raises(UserError, match=f"method `obs_prune`: .*{message}"):
        plugins.resolve("methods", "obs_prune", {"sparsity": 0.5, "regularity": regularity})


@pytest.mark.parametrize(
    "document", ['{"sparsity": 0}', '{"bits": 1}', '{"bits": 9}', '{"solver": "best"}', '{"damping": 0}', '{"int8": true}']
)
def test_parameters_out_of_range_are_refused(document: str) -> None:
    good = {"sparsity": 0.5, "bits": 4}
    assert TypeAdapter(METHOD).validate_json(json.dumps(good), strict=True) == METHOD(sparsity=0.5, bits=4)
    with pytest.raises(ValidationError):
        TypeAdapter(METHOD).validate_json(json.dumps(good | json.loads(document)), strict=True)
