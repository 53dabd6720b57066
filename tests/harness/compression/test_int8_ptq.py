from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from harness.compression.int8_ptq import METHOD
from harness.compression.numerics.fake_quant import quantize_weight
from harness.compression.numerics.layers import weighted_layers
from harness.context import Context
from harness.data.digits import DATA
from harness.errors import UserError
from harness.train import evaluate

pytestmark = pytest.mark.torch
NewContext = Callable[..., Context]


@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_lie_on_the_grid_and_quantizing_them_again_finds_the_same_codes(
    resnet: nn.Module, new_context: NewContext, per_channel: bool
) -> None:
    network = METHOD(per_channel=per_channel).compress(resnet, DATA(), new_context()).members[0].module
    for layer in weighted_layers(network).values():
        again = quantize_weight(layer.weight, per_channel)
        assert torch.allclose(again.dequantized(), layer.weight, rtol=1e-6, atol=0.0)
        assert int(again.codes.abs().max()) == 127


def test_batchnorm_is_folded_away(resnet: nn.Module, new_context: NewContext) -> None:
    compressed = METHOD().compress(resnet, DATA(), new_context())
    assert not [m for m in compressed.members[0].module.modules() if isinstance(m, nn.BatchNorm2d)]
    assert compressed.left_alone == {}


def test_a_batchnorm_that_cannot_be_folded_is_left_alone(new_context: NewContext) -> None:
    module = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 10))
    assert list(METHOD(calibration_samples=8).compress(module, DATA(), new_context()).left_alone) == ["0"]


def test_accuracy_stays_and_the_reference_is_not_the_float_network(cnn: nn.Module, new_context: NewContext) -> None:
    test = DATA().load("test")
    (member,) = METHOD().compress(cnn, DATA(), new_context()).members
    assert abs(evaluate(member.reference, test)["top1"] - evaluate(cnn, test)["top1"]) < 0.02
    x = torch.tensor(test.inputs[:100])
    with torch.no_grad():
        exact, simulation = member.module(x), member.reference(x)
    sqnr_db = float(10 * torch.log10(exact.square().sum() / (exact - simulation).square().sum()))
    assert 25 < sqnr_db < 60


def test_reference_answers_lie_on_the_256_values_of_its_output_grid(cnn: nn.Module, new_context: NewContext) -> None:
    (member,) = METHOD().compress(cnn, DATA(), new_context()).members
    with torch.no_grad():
        answers = member.reference(torch.tensor(DATA().load("test").inputs))
    assert len(answers.unique()) <= 256


def test_calibration_is_training_data_and_its_hash_is_kept(cnn: nn.Module, new_context: NewContext) -> None:
    compressed = METHOD(calibration_samples=33).compress(cnn, DATA(), new_context())
    training = {image.tobytes() for image in DATA().load("train").inputs}
    assert compressed.calibration.dtype == np.float32
    assert len({image.tobytes() for image in compressed.calibration} & training) == 33
    assert compressed.quantization is not None
    assert compressed.quantization.calibration_samples == 33
    assert compressed.quantization.calibration_sha256 == hashlib.sha256(compressed.calibration.tobytes()).hexdigest()


def test_another_seed_calibrates_on_other_examples(cnn: nn.Module, new_context: NewContext) -> None:
    hashes = [METHOD().compress(cnn, DATA(), new_context(seed)).quantization for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_claims_are_eight_bits_a_weight(cnn: nn.Module, new_context: NewContext) -> None:
    weights, biases, channels = 8 * 9 + 16 * 8 * 9 + 16 * 16 * 9 + 160, 8 + 16 + 16 + 10, 8 + 16 + 16 + 10
    per_channel = METHOD().compress(cnn, DATA(), new_context()).members[0].claims
    per_tensor = METHOD(per_channel=False).compress(cnn, DATA(), new_context()).members[0].claims
    assert per_channel.weight_bits == per_tensor.weight_bits == 8.0
    assert per_channel.weight_bytes == weights + 4 * biases + 4 * channels
    assert per_tensor.weight_bytes == weights + 4 * biases + 4 * 4


def test_more_calibration_samples_than_there_are_is_a_user_error(cnn: nn.Module, new_context: NewContext) -> None:
    with pytest.raises(UserError, match="ask for fewer"):
        METHOD(calibration_samples=10_000).compress(cnn, DATA(), new_context())


@pytest.mark.parametrize("document", ['{"calibration_samples": 0}', '{"per_channel": 1}', '{"calibration_samples": 2.5}'])
def test_parameters_out_of_range_are_refused(document: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(METHOD).validate_json(document, strict=True)
