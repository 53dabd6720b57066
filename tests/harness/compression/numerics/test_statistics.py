from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from harness.compression.numerics.statistics import correct_statistics

pytestmark = pytest.mark.torch


class Normed(nn.Module):
    """A batch norm over images, then a layer norm over their rows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.ln = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.LayerNorm((5, 6))
        self.plain = nn.BatchNorm2d(4, affine=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.ln(self.plain(self.bn(self.conv(x)).relu()))
        return out


def spoiled(module: nn.Module) -> nn.Module:
    other = copy.deepcopy(module)
    with torch.no_grad():
        other.get_parameter("conv.weight").mul_(0.6).add_(0.02 * torch.randn(4, 2, 3, 3))
    return other


def outputs(module: nn.Module, name: str, x: torch.Tensor) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    handle = module.get_submodule(name).register_forward_hook(lambda _m, _i, output: seen.append(output))
    with torch.no_grad():
        module(x)
    handle.remove()
    return seen[0]


@pytest.fixture
def case() -> tuple[nn.Module, nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    dense = Normed().eval()
    x = torch.randn(300, 2, 7, 8)
    nn.init.normal_(dense.get_parameter("bn.weight"))
    return dense, spoiled(dense), x


def test_every_channel_has_the_dense_networks_mean_and_deviation_again(
    case: tuple[nn.Module, nn.Module, torch.Tensor],
) -> None:
    dense, network, x = case
    assert correct_statistics(network, dense, x) == 2
    for name, axes in (("bn", (0, 2, 3)), ("ln", (0, 1))):
        ours, theirs = outputs(network, name, x), outputs(dense, name, x)
        assert torch.allclose(ours.mean(axes), theirs.mean(axes), atol=1e-5)
        assert torch.allclose(ours.std(axes), theirs.std(axes), rtol=1e-4)


def test_the_outputs_come_closer(case: tuple[nn.Module, nn.Module, torch.Tensor]) -> None:
    dense, network, x = case
    with torch.no_grad():
        before = (network(x) - dense(x)).square().mean()
        correct_statistics(network, dense, x)
        assert (network(x) - dense(x)).square().mean() < 0.9 * before


def test_the_dense_network_itself_needs_no_correction_and_keeps_no_hooks(case: tuple[nn.Module, nn.Module, torch.Tensor]) -> None:
    dense, _, x = case
    same = copy.deepcopy(dense)
    correct_statistics(same, dense, x)
    with torch.no_grad():
        assert torch.allclose(same(x), dense(x), atol=1e-5)
    assert not any(part._forward_hooks for network in (same, dense) for part in network.modules())


def test_a_channel_that_never_varies_gets_the_mean_alone() -> None:
    dense = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).eval()
    network = copy.deepcopy(dense)
    nn.init.zeros_(network.get_parameter("0.weight"))
    x = torch.randn(50, 1, 4, 4)
    correct_statistics(network, dense, x)
    assert torch.allclose(network(x).mean((0, 2, 3)), dense(x).mean((0, 2, 3)), atol=1e-5)
    assert bool(torch.isfinite(network(x)).all())


def test_a_norm_that_is_called_twice_is_left_alone() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.norm(2 * self.norm(x))
            return out

    assert correct_statistics(Twice(), Twice(), torch.randn(5, 3)) == 0
