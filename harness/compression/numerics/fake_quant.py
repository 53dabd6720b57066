"""Integer arithmetic simulated in float (Jacob et al. 2018, arXiv:1712.05877, sec. 2-3).

Weights: symmetric int8 in -127..127, scale = largest magnitude / 127, one for each output channel or one for the tensor.
Activations: asymmetric uint8, one scale and zero point a tensor from the smallest and largest value seen, 0 always representable.
Biases stay float: integer kernels hold them in 32 bits, where their error is below that of the accumulator.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from harness.compression.numerics.layers import weighted_layers


class QuantizedWeight(NamedTuple):
    codes: torch.Tensor
    """int8, the weight's shape."""
    scale: torch.Tensor
    """float32, [out, 1, ...] per channel or [1, 1, ...] per tensor; broadcasts over the codes."""

    def dequantized(self) -> torch.Tensor:
        return self.codes.to(torch.float32) * self.scale


class Affine(NamedTuple):
    """real = scale * (stored - zero_point), stored in 0..255."""

    scale: float
    zero_point: int


def quantize_weight(weight: torch.Tensor, per_channel: bool) -> QuantizedWeight:
    """Round to nearest. Doing it again to the dequantized weight gives the same codes: its largest magnitude is 127 * scale."""
    weight = weight.detach()
    axes = tuple(range(1 if per_channel else 0, weight.dim()))
    largest = weight.abs().amax(axes, keepdim=True)
    scale = torch.where(largest > 0, largest / 127.0, torch.ones_like(largest))
    codes = (weight / scale).round().clamp(-127, 127).to(torch.int8)
    return QuantizedWeight(codes, scale)


def put_weights_on_grid(module: nn.Module, per_channel: bool) -> dict[str, int]:
    """Replace every layer's weight, in place, by its int8 grid's nearest values (float32); how many scales each took."""
    scales = {}
    with torch.no_grad():
        for name, layer in weighted_layers(module).items():
            quantized = quantize_weight(layer.weight, per_channel)
            layer.weight.copy_(quantized.dequantized())
            scales[f"{name}.weight"] = quantized.scale.numel()
    return scales


def affine(low: float, high: float) -> Affine:
    """uint8 scale and zero point for values in low..high, widened to hold 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    if high == low:
        return Affine(1.0, 0)
    scale = (high - low) / 255.0
    return Affine(scale, min(max(round(-low / scale), 0), 255))
