from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from harness.compression.numerics.dependency import dependencies
from harness.compression.numerics.groups import Edit, Group, Node
from harness.compression.numerics.layers import BatchNorm
from harness.compression.numerics.shrink import shrunk
from harness.models.networks.resnet8 import ResNet8

pytestmark = pytest.mark.torch

SHAPE = (2, 6, 6)
EXAMPLE = np.zeros((1, *SHAPE), np.float32)


def chain() -> nn.Module:
    """A flattening of 3x3 positions before the linear layers, and batch-norm after it."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2, 1),
        nn.Flatten(),
        nn.BatchNorm1d(36),
        nn.Linear(36, 7),
        nn.ReLU(),
        nn.Linear(7, 3),
    )


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 1),
        nn.ReLU6(),
        nn.Conv2d(4, 8, 3, groups=4, bias=False),  # two outputs an input channel
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 5, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 3),
    )


class Concatenation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.bn = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(7)
        self.c, self.out = nn.Conv2d(7, 5, 1), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn(torch.cat([self.a(x), self.b(x)], dim=1)))
        result: torch.Tensor = self.out(self.c(y).mean((2, 3)))
        return result


class Gate(nn.Module):
    """Squeeze and excitation: the gate's channels are tied to what it multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.squeeze, self.excite = nn.Conv2d(2, 6, 3), nn.Linear(6, 3), nn.Linear(3, 6)
        self.out = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        gate = torch.sigmoid(self.excite(functional.relu(self.squeeze(y.mean([2, 3])))))
        y = y * gate.view(gate.size(0), gate.size(1), 1, 1)
        y = functional.adaptive_avg_pool2d(y, 1)
        result: torch.Tensor = self.out(y.view(y.shape[0], -1))
        return result


class Shared(nn.Module):
    """One convolution called twice: its input is tied to its output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared, self.out = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.shared(torch.relu(self.shared(self.stem(x)))))
        result: torch.Tensor = self.out(y.mean((2, 3)))
        return result


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "chain": chain,
    "depthwise": depthwise,
    "concatenation": Concatenation,
    "gate": Gate,
    "shared": Shared,
    "resnet8": lambda: ResNet8(2, 3, 4),
}


def trained(name: str, seed: int = 0) -> nn.Module:
    """With batch-norm statistics and parameters that are none of them trivial."""
    torch.manual_seed(seed)
    module = NETWORKS[name]()
    for part in module.modules():
        if isinstance(part, BatchNorm):
            assert part.running_mean is not None
            assert part.running_var is not None
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    return module.eval()


def silence(module: nn.Module, group: Group, channels: list[int]) -> None:
    """Make the channels zero at every place they come from: rows, biases, batch-norm scale and shift."""
    with torch.no_grad():
        for edit in group.edits(channels):
            if edit.node.axis == "out":
                layer = module.get_submodule(edit.node.layer)
                for parameter in (layer.weight, layer.bias):
                    if isinstance(parameter, torch.Tensor):
                        parameter[list(edit.indices)] = 0.0


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", range(3))
def test_removing_silent_channels_changes_no_answer(name: str, seed: int) -> None:
    module = trained(name, seed)
    found = dependencies(module, EXAMPLE)
    generator = torch.Generator().manual_seed(seed)
    edits: list[Edit] = []
    for group in found.groups:
        channels = torch.randperm(group.channels, generator=generator)[: group.channels // 2].tolist()
        silence(module, group, channels)
        edits += group.edits(channels)
    smaller = shrunk(module, edits)
    x = torch.randn(4, *SHAPE)
    with torch.no_grad():
        expected, answer = module(x), smaller(x)
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in module.parameters())
    assert answer.shape == expected.shape
    assert expected.std() > 1e-3  # the comparison would be empty if all had been silenced
    assert (answer - expected).abs().max() <= 1e-5 * expected.abs().max() + 1e-7


@pytest.mark.parametrize("name", NETWORKS)
def test_every_group_can_lose_any_one_channel(name: str) -> None:
    module = trained(name)
    for group in dependencies(module, EXAMPLE).groups:
        for channel in range(group.channels):
            with torch.no_grad():
                assert shrunk(module, group.edits([channel]))(torch.randn(2, *SHAPE)).shape == (2, 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_index_belongs_to_two_channels(name: str) -> None:
    indices = [
        (dependency.node, index)
        for group in dependencies(trained(name), EXAMPLE).groups
        for dependency in group.dependencies
        for index in itertools.chain(*dependency.indices)
    ]
    assert len(indices) == len(set(indices))


def nodes(group: Group) -> set[Node]:
    return {dependency.node for dependency in group.dependencies}


def test_resnet_ties_what_its_additions_tie() -> None:
    found = dependencies(ResNet8(2, 3, 4), EXAMPLE)
    conv, block1, block2, block3 = "conv", "block1", "block2", "block3"
    expected = [
        {(conv, "out"), ("bn", "out"), (f"{block1}.conv1", "in"), (f"{block1}.conv2", "out"), (f"{block1}.bn2", "out")}
        | {(f"{block2}.conv1", "in"), (f"{block2}.shortcut", "in")},
        {(f"{block1}.conv1", "out"), (f"{block1}.bn1", "out"), (f"{block1}.conv2", "in")},
        {(f"{block2}.conv1", "out"), (f"{block2}.bn1", "out"), (f"{block2}.conv2", "in")},
        {(f"{block2}.conv2", "out"), (f"{block2}.bn2", "out"), (f"{block2}.shortcut", "out")}
        | {(f"{block3}.conv1", "in"), (f"{block3}.shortcut", "in")},
        {(f"{block3}.conv1", "out"), (f"{block3}.bn1", "out"), (f"{block3}.conv2", "in")},
        {(f"{block3}.conv2", "out"), (f"{block3}.bn2", "out"), (f"{block3}.shortcut", "out"), ("classifier", "in")},
    ]
    assert [nodes(group) for group in found.groups] == expected
    assert [group.channels for group in found.groups] == [4, 4, 8, 8, 16, 16]
    assert found.left_alone == {"classifier": "its channels are the network's output"}


def test_flattening_gives_each_channel_its_nine_columns() -> None:
    group = dependencies(chain(), EXAMPLE).groups[0]
    assert [str(edit) for edit in group.edits([1])] == [
        "0: remove out 1",
        "1: remove out 1",
        "5: remove out 9, 10, 11, 12, 13, 14, 15, 16, 17",
        "6: remove in 9, 10, 11, 12, 13, 14, 15, 16, 17",
    ]


def test_depthwise_outputs_leave_with_their_input_channel() -> None:
    group = dependencies(depthwise(), EXAMPLE).groups[0]
    assert [str(edit) for edit in group.edits([3])] == [
        "0: remove out 3",
        "2: remove out 6, 7",
        "3: remove out 6, 7",
        "4: remove in 6, 7",
    ]


def test_concatenated_layers_are_groups_of_their_own() -> None:
    first, second, _ = dependencies(Concatenation(), EXAMPLE).groups
    assert [str(edit) for edit in first.edits([0])] == ["a: remove out 0", "bn: remove out 0", "c: remove in 0"]
    assert [str(edit) for edit in second.edits([0])] == ["b: remove out 0", "bn: remove out 3", "c: remove in 3"]


class Lambda(nn.Module):
    """conv -> a function -> linear: what the function does decides whether conv's channels can leave."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor], features: int) -> None:
        super().__init__()
        self.conv, self.out, self.function = nn.Conv2d(2, 4, 1), nn.Linear(features, 3), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.out(self.function(self.conv(x)))
        return result


@pytest.mark.parametrize(
    ("function", "features", "named"),
    [
        (lambda y: y.mean(1).flatten(1), 36, "mean"),
        (lambda y: torch.flip(y, (1,)).mean((2, 3)), 4, "flip"),
        (lambda y: (y * y.mean(1, keepdim=True)).mean((2, 3)), 4, "mean"),
        (lambda y: y.chunk(2, dim=1)[0].mean((2, 3)), 2, "chunk"),
        (lambda y: torch.cat([y, y], dim=2).softmax(1).mean((2, 3)), 4, "cat"),
        (lambda y: y.mean((2, 3)).view(-1, 4), 4, "view"),
        (lambda y: y.mean((2, 3)) + torch.arange(4), 4, "add"),
    ],
)
def test_an_operation_that_is_not_followed_keeps_the_channels_and_is_named(
    function: Callable[[torch.Tensor], torch.Tensor], features: int, named: str
) -> None:
    found = dependencies(Lambda(function, features), EXAMPLE)
    assert found.groups == ()
    assert f"`{named}" in found.left_alone["conv"]


@pytest.mark.parametrize(
    "middle",
    [
        nn.Conv2d(4, 4, 1, groups=2),
        nn.ConvTranspose2d(4, 4, 1),
        nn.GroupNorm(2, 4),
        nn.PReLU(4),
        nn.InstanceNorm2d(4, affine=True),
    ],
)
def test_a_layer_that_is_not_followed_keeps_the_channels_and_is_named(middle: nn.Module) -> None:
    module = nn.Sequential(nn.Conv2d(2, 4, 1), middle, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    found = dependencies(module, EXAMPLE)
    assert found.groups == ()
    assert "`1`" in found.left_alone["0"]
    if isinstance(middle, nn.Conv2d):
        assert "2 groups" in found.left_alone["1"]


def test_linear_over_positions_is_not_followed() -> None:
    found = dependencies(nn.Sequential(nn.Conv2d(2, 4, 1), nn.Linear(6, 3)), EXAMPLE)
    assert found.groups == ()
    assert set(found.left_alone) == {"0", "1"}


class Inner(nn.Module):
    """The second half of a transformer's layer: features last, a way around."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.act, self.two, self.norm = nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 6), nn.LayerNorm(6)
        self.out = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.out(self.norm(x + self.two(self.act(self.one(x)))).mean(1))
        return result


def test_features_along_the_last_dimension_leave_between_linear_layers_only() -> None:
    found = dependencies(Inner(), np.zeros((1, 5, 6), np.float32))
    (group,) = found.groups
    assert {d.node for d in group.dependencies} == {Node("one", "out"), Node("two", "in")}
    assert group.channels == 9
    assert "`add`" in found.left_alone["two"]
    module, x = Inner().eval(), torch.rand(2, 5, 6)
    with torch.no_grad():
        module.two.weight[:, [1, 7]] = 0
        smaller = shrunk(module, group.edits([1, 7]))
        assert smaller.get_submodule("one").weight.shape == (7, 6)
        assert torch.allclose(smaller(x), module(x), atol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        lambda y: y.transpose(1, 2).mean(2).flatten(1),
        lambda y: y.unflatten(2, (2, 2)).flatten(2).mean(1),
        lambda y: torch.cat([y, y], 1).mean(1),
        lambda y: y.mean(1),
        lambda y: functional.avg_pool2d(y, 3, 1, 1).mean(1),
        lambda y: y.relu().view(-1, 20)[:, :4],
    ],
)
def test_features_along_the_last_dimension_that_move_are_kept(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    class Moved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.out = nn.Linear(6, 4), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.out(function(self.one(x)))
            return result

    found = dependencies(Moved(), np.zeros((1, 5, 6), np.float32))
    assert found.groups == ()
    assert "one" in found.left_alone
