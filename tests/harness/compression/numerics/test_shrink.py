from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harness.compression.numerics.groups import Dependency, Edit, Group, Node
from harness.compression.numerics.shrink import check_runs, l1_norms, shrunk, smallest
from harness.errors import BuildError

pytestmark = pytest.mark.torch


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))


def test_layers_keep_exactly_the_other_weights() -> None:
    module = network()
    module.get_buffer("1.running_mean").normal_()
    edits = [Edit(Node("0", "out"), (1,)), Edit(Node("1", "out"), (1,)), Edit(Node("3", "in"), (4, 5, 6, 7))]
    smaller = shrunk(module, edits)
    conv, bn, _, linear = smaller.children()
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(bn, nn.BatchNorm2d)
    assert isinstance(linear, nn.Linear)
    assert torch.equal(conv.weight, module.get_parameter("0.weight")[[0, 2]])
    assert conv.bias is not None
    assert torch.equal(conv.bias, module.get_parameter("0.bias")[[0, 2]])
    assert bn.running_mean is not None
    assert torch.equal(bn.running_mean, module.get_buffer("1.running_mean")[[0, 2]])
    assert torch.equal(linear.weight, module.get_parameter("3.weight")[:, [0, 1, 2, 3, 8, 9, 10, 11]])
    assert (conv.out_channels, bn.num_features, linear.in_features) == (2, 2, 8)
    assert smaller(torch.zeros(1, 1, 4, 4)).shape == (1, 2)


def test_the_argument_is_not_edited_and_shares_nothing() -> None:
    module = network()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    smaller = shrunk(module, [Edit(Node("3", "out"), (0,))])
    with torch.no_grad():
        for parameter in smaller.parameters():
            parameter.fill_(7.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_norms_add_up_over_all_filters_that_make_a_channel() -> None:
    module = nn.ModuleDict({"a": nn.Conv2d(2, 2, 1), "b": nn.Conv2d(3, 4, 1), "bn": nn.BatchNorm2d(2), "c": nn.Linear(2, 1)})
    group = Group(
        (
            Dependency(Node("a", "out"), ((0,), (1,))),
            Dependency(Node("b", "out"), ((0, 1), (2, 3))),
            Dependency(Node("bn", "out"), ((0,), (1,))),
            Dependency(Node("c", "in"), ((0,), (1,))),
        )
    )
    a, b = module["a"].weight, module["b"].weight
    assert isinstance(a, torch.Tensor)
    assert isinstance(b, torch.Tensor)
    with torch.no_grad():
        expected = [(a[i].abs().sum() + b[2 * i].abs().sum() + b[2 * i + 1].abs().sum()).item() for i in range(2)]
    assert l1_norms(module, group).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("count", "ratio", "round_to", "removed"),
    [
        (10, 0.5, 1, 5),
        (10, 0.29, 1, 3),
        (10, 0.99, 1, 9),
        (1, 0.5, 1, 0),
        (16, 0.5, 8, 8),
        (16, 0.6, 8, 8),
        (10, 0.5, 4, 2),
        (3, 0.5, 8, 0),
    ],
)
def test_smallest_takes_the_share_rounded_towards_keeping(count: int, ratio: float, round_to: int, removed: int) -> None:
    norms = torch.rand(count, dtype=torch.float64)
    chosen = smallest(norms, ratio, round_to)
    assert len(chosen) == removed
    assert set(chosen) == set(norms.argsort()[:removed].tolist())


def test_equal_norms_leave_from_the_lowest_index() -> None:
    assert smallest(torch.ones(6), 0.5, 1) == (0, 1, 2)


EXAMPLE = np.zeros((1, 4), np.float32)


class WrittenWidth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.b(self.a(x) * torch.ones(6))
        return result


def test_a_forward_that_relies_on_its_width_is_a_build_error() -> None:
    module = WrittenWidth()
    check_runs(module, module, EXAMPLE)
    smaller = shrunk(module, [Edit(Node("a", "out"), (0,)), Edit(Node("b", "in"), (0,))])
    with pytest.raises(BuildError, match="WrittenWidth cannot lose channels"):
        check_runs(smaller, module, EXAMPLE)


def test_an_answer_of_another_shape_is_a_build_error() -> None:
    with pytest.raises(BuildError, match=r"answers \[2, 2\] instead of \[2, 4\]"):
        check_runs(WrittenWidth(), nn.Identity(), EXAMPLE)
