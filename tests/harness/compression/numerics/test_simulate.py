from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from harness.compression.numerics.fake_quant import Affine, affine, put_weights_on_grid
from harness.compression.numerics.fold import fold_batchnorm
from harness.compression.numerics.layers import traced
from harness.compression.numerics.simulate import FakeQuantize, quantization_points, simulated
from harness.models.networks.resnet8 import ResNet8

pytestmark = pytest.mark.torch


def rounded(x: torch.Tensor, grid: Affine) -> torch.Tensor:
    """uint8 and back, the definition spelled out in float64."""
    stored = (x.double() / grid.scale).round() + grid.zero_point
    return (stored.clamp(0, 255) - grid.zero_point).float() * grid.scale


def span(x: torch.Tensor) -> Affine:
    return affine(float(x.min()), float(x.max()))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.pool, self.linear = nn.AdaptiveAvgPool2d(1), nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.first(x))
        z = torch.relu(y + self.second(y))
        result: torch.Tensor = self.linear(self.pool(torch.max_pool2d(z, 2)).flatten(1))
        return result


def test_points_are_the_input_and_every_result_after_its_activation() -> None:
    points = [node.name for node in quantization_points(traced(Residual()))]
    assert points == ["x", "relu", "second", "relu_1", "max_pool2d", "pool", "linear"]


def test_folded_batchnorms_do_not_hide_the_activation() -> None:
    network = fold_batchnorm(ResNet8(1, 10, 2))
    names = [node.name for node in simulated(network, torch.rand(4, 1, 8, 8)).graph.nodes if node.name.startswith("quantize")]
    block = ["relu1", "conv2", "relu2"]
    expected = [*block, *block[:2], "shortcut", block[2], *block[:2], "shortcut", block[2]]
    assert [name.rsplit("_", 1)[-1] for name in names] == ["x", "relu", *expected, "pool", "classifier"]


def test_simulation_rounds_where_an_integer_program_would() -> None:
    torch.manual_seed(0)
    module, x = Residual(), torch.randn(20, 1, 6, 6)
    with torch.no_grad():
        y = torch.relu(module.first(x))
        second = module.second(y)
        z = torch.relu(y + second)
        pooled = torch.max_pool2d(z, 2)
        mean = module.pool(pooled)
        logits = module.linear(mean.flatten(1))
        test = torch.randn(7, 1, 6, 6) * 1.5  # some values out of the ranges seen: they are clipped
        a = rounded(torch.relu(module.first(rounded(test, span(x)))), span(y))
        b = rounded(torch.relu(a + rounded(module.second(a), span(second))), span(z))
        c = rounded(module.pool(rounded(torch.max_pool2d(b, 2), span(pooled))), span(mean))
        expected = rounded(module.linear(c.flatten(1)), span(logits))
        found = simulated(module, x)(test)
    step = span(logits).scale
    assert (found - expected).abs().max() <= 1.01 * step  # a tie that float32 rounds the other way moves a value by one step
    assert ((found - expected).abs() < 1e-6).double().mean() > 0.9


def test_simulation_stays_near_the_float_network() -> None:
    torch.manual_seed(0)
    network = fold_batchnorm(ResNet8(1, 10, 4))
    put_weights_on_grid(network, per_channel=True)
    x = torch.rand(64, 1, 8, 8)
    with torch.no_grad():
        exact, simulation = network(x), simulated(network, x)(x)
    sqnr_db = 10 * torch.log10(exact.square().sum() / (exact - simulation).square().sum())
    assert 25 < float(sqnr_db) < 60


def test_ranges_cover_all_calibration_batches() -> None:
    x = torch.zeros(200, 2)
    x[150] = torch.tensor([-3.0, 7.0])
    graph = simulated(nn.Sequential(nn.Identity(), nn.Linear(2, 2)), x)
    grid = graph.get_submodule("quantize_input_1").grid
    assert grid == affine(-3.0, 7.0)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.output = nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = torch.softmax(self.query(x) @ x.transpose(1, 2), dim=-1) @ x + x
        result: torch.Tensor = self.output(torch.relu(mixed))
        return result


def test_linear_rounds_what_goes_into_linear_layers_and_nothing_else() -> None:
    torch.manual_seed(0)
    module, x, test = Attending(), torch.randn(20, 5, 6), torch.randn(7, 5, 6)
    test[0, 0, 0] = 1000.0  # the sum sees what the layer is not shown
    with torch.no_grad():
        inner = torch.relu(torch.softmax(module.query(x) @ x.transpose(1, 2), dim=-1) @ x + x)
        mixed = torch.softmax(module.query(rounded(test, span(x))) @ test.transpose(1, 2), dim=-1) @ test + test
        expected = module.output(rounded(torch.relu(mixed), span(inner)))
        graph = simulated(module, x, "linear")
        found = graph(test)
    assert [node.name for node in graph.graph.nodes if node.name.startswith("quantize")] == ["quantize_x", "quantize_relu"]
    assert torch.allclose(found, expected, atol=0.05) and not torch.allclose(found, module(test), atol=0.5)


def test_the_argument_is_not_edited_and_the_result_can_be_pickled() -> None:
    module = Residual()
    before = copy.deepcopy(module.state_dict())
    graph = simulated(module, torch.randn(4, 1, 6, 6))
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    x = torch.randn(2, 1, 6, 6)
    assert torch.equal(pickle.loads(pickle.dumps(graph))(x), graph(x))


def test_fake_quantize_is_uint8_and_back() -> None:
    x = torch.linspace(-2, 3, 1001)
    grid = affine(-1.0, 2.0)
    assert torch.allclose(FakeQuantize(grid)(x), rounded(x, grid), atol=grid.scale * 1.001)
    assert len(FakeQuantize(grid)(x).unique()) == 256
    assert 0.0 in FakeQuantize(grid)(x)
