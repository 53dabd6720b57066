from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.compression.numerics.fake_quant import affine, put_weights_on_grid, quantize_weight

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 3, 3)])
def test_per_channel_error_is_at_most_half_a_step_of_the_channel(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape) * torch.logspace(-3, 2, shape[0]).view(-1, *[1] * (len(shape) - 1))
    quantized = quantize_weight(weight, per_channel=True)
    for channel in range(shape[0]):
        step = float(weight[channel].abs().max()) / 127
        assert float(quantized.scale[channel].squeeze()) == pytest.approx(step)
        assert (quantized.dequantized()[channel] - weight[channel]).abs().max() <= step * 0.50001
        assert int(quantized.codes[channel].abs().max()) == 127


def test_per_tensor_has_one_scale() -> None:
    weight = torch.randn(4, 6)
    quantized = quantize_weight(weight, per_channel=False)
    assert quantized.scale.numel() == 1
    assert (quantized.dequantized() - weight).abs().max() <= weight.abs().max() / 127 * 0.50001


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_quantizing_again_gives_the_same_codes(per_channel: bool, seed: int) -> None:
    weight = torch.randn(64, 100, generator=torch.Generator().manual_seed(seed)) * 10.0 ** (seed - 2)
    first = quantize_weight(weight, per_channel)
    second = quantize_weight(first.dequantized(), per_channel)
    assert torch.equal(first.codes, second.codes)
    assert torch.allclose(first.scale, second.scale, rtol=3e-7, atol=0.0)


def test_a_channel_of_zeros_stays_zero() -> None:
    quantized = quantize_weight(torch.tensor([[0.0, 0.0], [1.0, -2.0]]), per_channel=True)
    assert quantized.codes.tolist() == [[0, 0], [64, -127]]
    assert torch.isfinite(quantized.dequantized()).all()


def test_weights_of_all_layers_come_to_lie_on_the_grid_and_biases_stay() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 5))
    biases = [module.get_parameter("0.bias").clone(), module.get_parameter("2.bias").clone()]
    expected = quantize_weight(module.get_parameter("0.weight"), per_channel=True).dequantized()
    assert list(put_weights_on_grid(module, per_channel=True).values()) == [3, 5]
    assert torch.equal(module.get_parameter("0.weight"), expected)
    assert [
        torch.equal(a, b) for a, b in zip(biases, (module.get_parameter("0.bias"), module.get_parameter("2.bias")), strict=True)
    ] == [True, True]
    assert list(put_weights_on_grid(module, per_channel=False).values()) == [1, 1]


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [(0.0, 255.0, 1.0, 0), (-1.0, 1.0, 2 / 255, 128), (2.0, 5.1, 0.02, 0), (-5.1, -2.0, 0.02, 255), (0.0, 0.0, 1.0, 0)],
)
def test_affine_by_hand(low: float, high: float, scale: float, zero_point: int) -> None:
    grid = affine(low, high)
    assert grid.scale == pytest.approx(scale)
    assert grid.zero_point == zero_point
