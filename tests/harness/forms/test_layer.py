from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.errors import BuildError
from harness.forms.layer import cut_layer
from harness.forms.program import save_program

if TYPE_CHECKING:
    from torch import nn

pytestmark = pytest.mark.torch


def network() -> nn.Module:
    import torch
    from torch import Tensor, nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(8)
            self.second = nn.Conv2d(8, 8, (3, 1), padding="same", groups=4, dilation=2)
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            y = self.act(self.norm(self.first(x)))
            found: Tensor = self.act(y + self.second(y))
            return found

    class Join(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a + b

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Block()
            self.join = Join()
            self.head = nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            y = self.block(x)
            found: Tensor = self.head(self.join(y, 2 * y).mean((2, 3)))
            return found

    torch.manual_seed(0)
    return Network().eval()


@pytest.mark.parametrize("name", ["block", "block.first", "block.norm", "block.second", "block.act", "head"])
def test_a_layer_is_cut_with_what_it_is_given(tmp_path: Path, name: str) -> None:
    import torch

    whole = network()
    save_program(whole, np.zeros((1, 4, 6, 6), np.float32), tmp_path / "module.pt2")
    inputs = np.random.default_rng(0).standard_normal((5, 4, 6, 6), np.float32)
    seen: list[torch.Tensor] = []
    whole.get_submodule(name).register_forward_pre_hook(lambda _module, given: seen.append(given[0].clone()))
    with torch.no_grad():
        whole(torch.from_numpy(inputs))
    layer, given = cut_layer(tmp_path / "module.pt2", name, inputs)
    assert np.array_equal(given, seen[0].numpy())
    with torch.no_grad():
        assert torch.equal(layer(torch.from_numpy(given)), whole.get_submodule(name)(torch.from_numpy(given)))
    # and it can be saved and read as a network of its own
    save_program(layer, given[:1], tmp_path / "layer.pt2")


@pytest.mark.parametrize(("name", "kinds"), [("block", {"Conv2d"}), ("block.second", {"Conv2d"}), ("head", {"Linear"})])
def test_convolutions_and_linear_layers_are_modules_again(tmp_path: Path, name: str, kinds: set[str]) -> None:
    from torch import nn

    save_program(network(), np.zeros((1, 4, 6, 6), np.float32), tmp_path / "module.pt2")
    layer, _ = cut_layer(tmp_path / "module.pt2", name, np.zeros((2, 4, 6, 6), np.float32))
    found = [module for module in layer.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert {type(module).__name__ for module in found} == kinds
    assert len(found) == (2 if name == "block" else 1)
    assert {module.bias is None for module in found} == ({True, False} if name == "block" else {False})


def test_an_unknown_layer_is_a_build_error_with_the_nearest_name(tmp_path: Path) -> None:
    save_program(network(), np.zeros((1, 4, 6, 6), np.float32), tmp_path / "module.pt2")
    with pytest.raises(BuildError, match=r"no layer `block\.firts`\. Did you mean `block\.first`\?"):
        cut_layer(tmp_path / "module.pt2", "block.firts", np.zeros((2, 4, 6, 6), np.float32))


def test_a_layer_of_two_inputs_is_a_build_error(tmp_path: Path) -> None:
    save_program(network(), np.zeros((1, 4, 6, 6), np.float32), tmp_path / "module.pt2")
    with pytest.raises(BuildError, match="`join` takes 2 inputs"):
        cut_layer(tmp_path / "module.pt2", "join", np.zeros((2, 4, 6, 6), np.float32))
