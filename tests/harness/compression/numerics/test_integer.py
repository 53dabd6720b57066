from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from harness.compression.numerics.integer import as_int8
from harness.compression.numerics.layers import batchnorms, weighted_layers
from harness.context import Context
from harness.criterion import CLASSIFICATION
from harness.data.digits import DATA
from harness.errors import Unsupported
from harness.train import Recipe

pytestmark = pytest.mark.torch


@pytest.fixture
def context(tmp_path: Path) -> Callable[[], Context]:
    return lambda: Context(0, DATA(), Recipe(), CLASSIFICATION, tmp_path)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10), nn.BatchNorm1d(10)
    ).eval()


@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_lie_on_the_grid_and_the_reference_rounds_activations(per_channel: bool, context: Callable[[], Context]) -> None:
    module, inputs = network(), DATA().load("train").inputs[:50]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    found = as_int8(module, inputs, per_channel, DATA(), context())
    (member,) = found.members
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert (found.numeric, found.left_alone, batchnorms(member.module)) == ("int8", {}, {})
    for layer in weighted_layers(member.module).values():
        rows = layer.weight.detach().flatten(1) if per_channel else layer.weight.detach().reshape(1, -1)
        codes = rows / (rows.abs().amax(1, keepdim=True) / 127)
        assert float((codes - codes.round()).abs().max()) < 1e-3
    assert found.quantization is not None
    assert (found.quantization.per_channel, found.quantization.calibration_samples) == (per_channel, 50)
    assert np.array_equal(found.calibration, inputs)
    x = torch.tensor(inputs)
    with torch.no_grad():
        dense, rounded = module(x), member.reference(x)
    assert 0 < float((rounded - dense).abs().max()) < 0.1 * float(dense.abs().max())
    assert [event["stage"] for event in found.log] == ["folded float32", "int8 simulation"]


def test_a_network_that_8_bits_leave_nothing_of_is_refused(context: Callable[[], Context]) -> None:
    """One sum holds a large feature and the small ones that decide, as transformers' do."""

    class Outlier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(64, 64), nn.Linear(64, 10)
            with torch.no_grad():
                self.body.bias[0] = 1e4
                self.head.weight[:, 0] = 0.0
                self.head.weight[:, 1:] -= self.head.weight[:, 1:].mean(1, keepdim=True)  # what all features share says nothing
                self.head.bias.zero_()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.head(torch.nn.functional.layer_norm(x.flatten(1) + self.body(x.flatten(1)), (64,)))
            return result

    torch.manual_seed(0)
    module, inputs = Outlier().eval(), DATA().load("train").inputs[:20]
    with pytest.raises(Unsupported, match=r"leave .* dB of this network's answers.*tensors: linear"):
        as_int8(module, inputs, True, DATA(), context())


def test_only_linear_layers_of_a_network_without_convolutions_can_be_integer(context: Callable[[], Context]) -> None:
    inputs = DATA().load("train").inputs[:20]
    with pytest.raises(Unsupported, match="`0` is one: take `tensors: all`"):
        as_int8(network(), inputs, True, DATA(), context(), tensors="linear")
    found = as_int8(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval(), inputs, True, DATA(), context(), tensors="linear")
    assert found.quantization is not None and found.quantization.tensors == "linear"
    assert (
        len(found.members[0].reference(torch.tensor(inputs)).unique()) > 100
    )  # the answers themselves are not rounded to 256 values


def test_a_batchnorm_without_a_layer_of_its_own_is_named(context: Callable[[], Context]) -> None:
    module = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 10)).eval()
    found = as_int8(module, DATA().load("train").inputs[:20], True, DATA(), context())
    assert list(found.left_alone) == ["0"]
