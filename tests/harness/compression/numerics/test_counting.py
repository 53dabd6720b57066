from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harness.compression.numerics.counting import claims, weight_uses
from harness.errors import BuildError
from harness.models.networks.encoder import Encoder

pytestmark = pytest.mark.torch


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),  # 8x8 -> 4x4
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, groups=8),  # depthwise, 4x4 -> 2x2
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def multiplications_by_loops(x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int, groups: int) -> tuple[int, int]:
    """Multiplications of a convolution that a program of loops would do, and those with a weight that is not zero."""
    size = (x.shape[-1] + 2 * padding - weight.shape[-1]) // stride + 1
    done = useful = 0
    for out in range(weight.shape[0]):
        for _y in range(size):
            for _x in range(size):
                for inner in range(x.shape[0] // groups):
                    for ky in range(weight.shape[2]):
                        for kx in range(weight.shape[3]):
                            done += 1
                            useful += float(weight[out, inner, ky, kx].detach()) != 0.0
    return done, useful


def test_macs_are_those_of_a_program_of_loops() -> None:
    module = network()
    with torch.no_grad():
        module.get_parameter("0.weight")[torch.rand_like(module.get_parameter("0.weight")) < 0.3] = 0.0
        module.get_parameter("4.weight")[:, ::2] = 0.0
    first = multiplications_by_loops(torch.zeros(3, 8, 8), module.get_parameter("0.weight"), 2, 1, 1)
    second = multiplications_by_loops(torch.zeros(8, 4, 4), module.get_parameter("2.weight"), 1, 0, 8)
    counted = claims(module, np.zeros((1, 3, 8, 8), np.float32))
    assert counted.macs == first[0] + second[0] + 320
    assert counted.nonzero_macs == first[1] + second[1] + 160


def test_dense_float_bytes_are_four_a_parameter() -> None:
    module = network()
    counted = claims(module, np.zeros((1, 3, 8, 8), np.float32))
    params = 3 * 8 * 9 + 8 + 16 + 72 + 8 + 320 + 10
    assert (counted.params, counted.weight_bits, counted.weight_bytes) == (params, 32.0, 4 * params)


def test_int8_bytes_count_biases_and_scales_at_four() -> None:
    module = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    assert (
        claims(module, np.zeros((1, 6), np.float32), weight_bits=8, scales={"0.weight": 5, "2.weight": 3}).weight_bytes
        == 30 + 15 + 4 * (5 + 3) + 4 * 8
    )


def test_sparse_bytes_are_bitmap_and_values_or_dense_if_smaller() -> None:
    module = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 2, bias=False))
    with torch.no_grad():
        module.get_parameter("0.weight")[:, 1:] = 0.0
    counted = claims(module, np.zeros((1, 8), np.float32), sparse=True)
    assert counted.nonzero_params == 8 + 16
    assert counted.weight_bytes == (64 // 8 + 8 * 4) + 16 * 4  # the second layer has no zeros: a bitmap would only add to it


def test_a_layer_called_twice_counts_twice() -> None:
    layer = nn.Linear(4, 4)
    assert weight_uses(nn.Sequential(layer, nn.ReLU(), layer), np.zeros((1, 4), np.float32)) == {"0.weight": 2}
    assert claims(nn.Sequential(layer, layer), np.zeros((1, 4), np.float32)).macs == 32


def test_linear_on_a_sequence_counts_every_position() -> None:
    assert claims(nn.Linear(4, 5), np.zeros((1, 7, 4), np.float32)).macs == 7 * 20
    assert claims(nn.Linear(4, 5, bias=False), np.zeros((1, 3, 7, 4), np.float32)).macs == 3 * 7 * 20


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.Conv1d(2, 4, 3), (2, 10), 8 * 24),
        (nn.Conv3d(1, 2, 2), (1, 3, 3, 3), 8 * 16),
        (nn.ConvTranspose2d(3, 2, 2, stride=2), (3, 4, 4), 16 * 24),
        (nn.Conv2d(2, 4, 3, padding="same"), (2, 5, 6), 30 * 72),
    ],
)
def test_other_convolutions(layer: nn.Module, shape: tuple[int, ...], macs: int) -> None:
    assert claims(layer, np.zeros((1, *shape), np.float32)).macs == macs


class Written(nn.Module):
    """Convolution and product without a layer's module around them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.rand(4, 1, 3, 3)), nn.Parameter(torch.rand(16, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(x, self.a).flatten(1) @ self.b


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch.export copies its own deprecated class
def test_it_does_not_matter_how_the_network_is_written() -> None:
    assert weight_uses(Written(), np.zeros((1, 1, 4, 4), np.float32)) == {"a": 4, "b": 1}
    program = torch.export.export(network().eval(), (torch.zeros(1, 3, 8, 8),))
    assert claims(torch.export.unflatten(program), np.zeros((1, 3, 8, 8), np.float32)) == claims(
        network(), np.zeros((1, 3, 8, 8), np.float32)
    )


def test_counting_leaves_the_module_as_it_is() -> None:
    module = network().train()
    before = module.get_buffer("1.running_mean").clone()
    claims(module, np.zeros((1, 3, 8, 8), np.float32))
    assert module.training
    assert torch.equal(module.get_buffer("1.running_mean"), before)


def test_a_layer_that_cannot_be_counted_is_named() -> None:
    with pytest.raises(BuildError, match=r"`2\.weight` \[4, 4\] cannot be counted"):
        claims(nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), Scaled()), np.zeros((1, 1, 4, 4), np.float32))


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def test_lookups_and_products_of_activations_count_nothing() -> None:
    encoder = Encoder(20, 6, 5, width=8, layers=1, heads=2, inner=12, dropout=0.0, epsilon=1e-5)
    uses = weight_uses(encoder, np.ones((1, 6), np.int64))
    linear = [name for name, part in encoder.named_modules() if isinstance(part, nn.Linear)]
    assert uses == {f"{name}.weight": 1 if name == "head" else 6 for name in linear}
    found = claims(encoder, np.ones((1, 6), np.int64), weight_bits=8)
    assert found.macs == 6 * (4 * 8 * 8 + 2 * 8 * 12) + 8 * 5
    weights = 4 * 8 * 8 + 2 * 8 * 12 + 8 * 5
    assert found.weight_bytes == weights + 4 * (found.params - weights)  # the embedding's 4 bytes a value too
