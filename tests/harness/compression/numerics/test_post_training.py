from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from harness.compression.numerics.layers import Layer
from harness.compression.numerics.post_training import PostTraining, made, put, uniform
from harness.compression.numerics.surgery import Option
from harness.context import Context
from harness.data.digits import DATA
from harness.errors import UserError

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("compiler_cache")]
NewContext = Callable[..., Context]
PLAIN = PostTraining(solver="plain", calibration_samples=64)


class Mixed(nn.Module):
    """A layer of each kind that is known, and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.same, self.conv = nn.Conv2d(1, 2, 3, padding="same"), nn.Conv2d(2, 4, 3)
        self.bn, self.linear = nn.BatchNorm2d(4), nn.Linear(144, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.linear(self.bn(self.conv(self.same(x))).relu().flatten(1))
        return out


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return Mixed().eval()


def halve(layer: Layer) -> Sequence[Option]:
    return (Option(0.5),)


def test_each_layer_is_planned_or_left_alone_with_its_reason(network: nn.Module) -> None:
    plan, left_alone = PostTraining(skip=("linear",)).layers(network, halve)
    assert dict(plan) == {"conv": (Option(0.5),)}
    assert left_alone["linear"] == "named in `skip`"
    assert "laid out as columns" in left_alone["same"]
    assert (
        PLAIN.layers(network, lambda layer: halve(layer) if isinstance(layer, nn.Linear) else "no linear layer")[1]["conv"]
        == "no linear layer"
    )


def test_nothing_to_work_on_and_unknown_layers_are_user_errors(network: nn.Module) -> None:
    with pytest.raises(UserError, match=r"no layer is left to work on: .*too wide"):
        PostTraining(skip=("same",)).layers(network, lambda _layer: "too wide")
    with pytest.raises(UserError, match=r"`skip` names `con`.*Did you mean `conv`"):
        PostTraining(skip=("con",)).layers(network, halve)


def test_uniform_leaves_the_argument_alone_and_logs_each_layers_error(network: nn.Module, new_context: NewContext) -> None:
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    context = new_context()
    _, chosen, left_alone = uniform(PLAIN, network, DATA(), context, lambda _layer: Option(bits=3))
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    layers = [event for event in context.events if event["event"] == "layer"]
    assert [(event["name"], event["option"]) for event in layers] == [("conv", "dense, 3 bit"), ("linear", "dense, 3 bit")]
    assert all(0 < event["error"] < 0.2 for event in layers)
    assert list(left_alone) == ["same"] and list(chosen) == ["conv", "linear"]


def test_statistics_are_set_right_last_and_logged(network: nn.Module, new_context: NewContext) -> None:
    method = PostTraining(solver="plain", calibration_samples=64, bn_reset=True, mean_std=True)
    context = new_context()
    uniform(method, network, DATA(), context, lambda _layer: Option(0.5))
    stages = [event.get("stage", event["event"]) for event in context.events]
    assert stages == ["layer", "layer", "compressed", "mean_std", "bn_reset", "final"]
    assert [event["layers"] for event in context.events if event["event"] in ("mean_std", "bn_reset")] == [1, 1]


def test_claims_count_bits_scales_and_what_was_left_alone(network: nn.Module, new_context: NewContext) -> None:
    chosen = {"conv": Option(bits=4), "linear": Option(bits=3, symmetric=False)}
    (member,) = made(network, chosen, {}, DATA(), new_context()).members
    values = 72 * 4 + 1440 * 3 + 18 * 32
    others = 2 + 4 + 8 + 10  # biases, batch-norm
    assert member.claims.weight_bytes == values / 8 + 4 * (4 + 2 * 10) + 4 * others
    assert member.claims.weight_bits == pytest.approx(values / (72 + 1440 + 18))


def test_put_replaces_a_weight_in_place(network: nn.Module) -> None:
    parameter = network.get_parameter("conv.weight")
    put(network, "conv", torch.ones(4, 2, 3, 3))
    assert network.get_parameter("conv.weight") is parameter
    assert bool((parameter == 1).all())
