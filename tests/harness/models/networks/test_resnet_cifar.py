from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from harness.checkpoint import load_weights
from harness.models.networks.resnet_cifar import Block, CifarResNet

pytestmark = pytest.mark.torch

MODELS = Path(os.environ.get("ASSAY_DATA", "")) / "models"


def test_around_a_block_every_second_pixel_goes_with_zeros_on_both_sides() -> None:
    block = Block(4, 8, stride=2).eval()
    x = torch.rand(2, 4, 6, 5)
    with torch.no_grad():
        block.bn2.weight.zero_()  # the convolutions then add nothing
        assert torch.equal(block(x), functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))
        same = Block(4, 4, stride=1).eval()
        same.bn2.weight.zero_()
        assert torch.equal(same(x), x)


@pytest.mark.parametrize(("depth", "blocks"), [(20, 3), (56, 9)])
def test_published_weights_give_the_network_that_is_written_down_plainly(depth: int, blocks: int) -> None:
    file = MODELS / f"akamaster_resnet{depth}_cifar10.safetensors"
    if not file.is_file():
        pytest.skip(f"{file.name} is not in $ASSAY_DATA/models")
    network = CifarResNet(3, 10, blocks)
    load_weights(network, file)
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(network.eval()(x), plain(x, network.state_dict(), blocks), atol=1e-4)


def plain(x: torch.Tensor, state: dict[str, torch.Tensor], blocks: int) -> torch.Tensor:
    """He et al. 2016, sec. 4.2, in functions over the state dict's own names."""

    def normalised(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return functional.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"])

    x = normalised(functional.conv2d(x, state["conv1.weight"], padding=1), "bn1").relu()
    for stage in (1, 2, 3):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = normalised(functional.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1").relu()
            y = normalised(functional.conv2d(y, state[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            added = (y.shape[1] - x.shape[1]) // 2
            x = (y + functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, added, added))).relu()
    return functional.linear(x.mean((2, 3)), state["linear.weight"], state["linear.bias"])
