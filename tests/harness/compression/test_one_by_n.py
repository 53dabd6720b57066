from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from harness.compiler.sparsity import zeros_of
from harness.compression.numerics.layers import weighted_layers
from harness.compression.numerics.regularity import OneByN
from harness.compression.one_by_n import METHOD
from harness.context import Context
from harness.data.digits import DATA
from harness.errors import UserError
from harness.train import evaluate

pytestmark = pytest.mark.torch
NewContext = Callable[..., Context]
Rearrange = Literal["none", "l1", "exchange"]


def compressed(module: nn.Module, context: Context, sparsity: float = 0.5, **options: object) -> nn.Module:
    method = METHOD(sparsity=sparsity, **({"fine_tune_epochs": 0} | options))  # type: ignore[arg-type]
    return method.compress(module, DATA(), context).members[0].module


@pytest.mark.parametrize("rearrange", ["none", "l1", "exchange"])
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.9])
def test_what_is_exported_has_its_blocks_in_one_piece(
    cnn: nn.Module, new_context: NewContext, rearrange: Rearrange, sparsity: float
) -> None:
    """Neighbouring filters of the network itself, not of one that would have to be sorted first."""
    for name, layer in weighted_layers(compressed(cnn, new_context(), sparsity, rearrange=rearrange)).items():
        blocks = OneByN(4).tile.means((layer.weight != 0).double())
        if name in ("conv2", "conv3"):
            assert set(blocks.flatten().tolist()) == {0.0, 1.0}
            assert int((blocks == 0).sum()) == round(sparsity * blocks.numel())
        else:
            assert float(blocks.min()) == 1.0


def test_the_compiler_sees_the_blocks(cnn: nn.Module, new_context: NewContext) -> None:
    weight = compressed(cnn, new_context()).get_parameter("conv3.weight").detach()
    assert zeros_of(weight.permute(2, 3, 1, 0).numpy()).pattern == "1x4"


@pytest.mark.parametrize("n", [2, 4, 8])
def test_rearranging_never_retains_less(resnet: nn.Module, new_context: NewContext, n: Literal[2, 4, 8]) -> None:
    def kept(rearrange: Rearrange) -> float:
        pruned = compressed(resnet, new_context(), rearrange=rearrange, n=n)
        return sum(float(layer.weight.detach().abs().sum()) for layer in weighted_layers(pruned).values())

    none, l1, exchange = kept("none"), kept("l1"), kept("exchange")
    assert none <= l1 * (1 + 1e-6)
    assert l1 <= exchange * (1 + 1e-6)
    assert none < exchange


def test_the_log_says_what_moving_the_filters_retains(cnn: nn.Module, new_context: NewContext) -> None:
    context = new_context()
    compressed(cnn, context, rearrange="l1")
    events = [event for event in context.events if event["event"] == "rearranged"]
    assert [event["layers"] for event in events] == [["conv2"], ["conv3"]]
    assert all(event["taken"] == (event["after"] > event["before"]) for event in events)
    assert all(0.5 < event["before"] < 1 for event in events)


def test_blocks_survive_fine_tuning_and_batchnorm_reset_which_win_accuracy_back(cnn: nn.Module, new_context: NewContext) -> None:
    def top1(module: nn.Module) -> float:
        return evaluate(module, DATA().load("test"))["top1"]

    plain = compressed(cnn, new_context(), 0.7)
    tuned = compressed(cnn, new_context(), 0.7, fine_tune_epochs=3, bn_reset=True)
    for name, layer in weighted_layers(plain).items():
        assert torch.equal(layer.weight == 0, tuned.get_parameter(f"{name}.weight") == 0)
    assert top1(tuned) > top1(plain) + 0.1


def test_ragged_filters_end_in_a_short_block_or_leave_the_layer_alone(new_context: NewContext) -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.Conv2d(6, 10, 3), nn.Conv2d(10, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )
    short = compressed(module, new_context(), ragged="short").get_parameter("1.weight")
    rows = (short != 0).flatten(2).any(2)
    for first, last in ((0, 4), (4, 8), (8, 10)):
        assert bool((rows[first:last].all(0) == rows[first:last].any(0)).all())
    assert int((~rows).sum()) > 0
    left = METHOD(sparsity=0.5, ragged="leave", fine_tune_epochs=0).compress(module, DATA(), new_context())
    assert bool((left.members[0].module.get_parameter("1.weight") != 0).all())
    assert left.left_alone["1"] == "10 filters are no multiple of 4, and `ragged` says to leave it"
    assert "2" not in left.left_alone


def test_stem_depthwise_and_linear_layers_are_left_alone(new_context: NewContext) -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 16, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 12),
        nn.Linear(12, 10),
    )
    found = METHOD(sparsity=0.5, fine_tune_epochs=0).compress(module, DATA(), new_context())
    assert list(found.left_alone) == ["0", "1", "5", "6"]
    with_fc = METHOD(sparsity=0.5, fine_tune_epochs=0, include_fc=True).compress(module, DATA(), new_context())
    assert list(with_fc.left_alone) == ["0", "1"]
    removed = with_fc.members[0].module.get_parameter("6.weight") == 0
    assert sum(int(removed[first : first + 4].all(0).sum()) for first in (0, 4, 8)) == 18, (
        "half of 3 x 12 blocks, the last of two filters"
    )


def test_a_network_of_nothing_to_prune_is_a_user_error(new_context: NewContext) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(UserError, match=r"no layer can be pruned: 1: a linear layer"):
        METHOD(sparsity=0.5).compress(module, DATA(), new_context())


def test_claims_count_blocks_and_their_numbers(cnn: nn.Module, new_context: NewContext) -> None:
    (member,) = METHOD(sparsity=0.5, fine_tune_epochs=0).compress(cnn, DATA(), new_context()).members
    uses = {"conv1": 64, "conv2": 16, "conv3": 16, "classifier": 1}
    zeros = {name: int((layer.weight == 0).sum()) for name, layer in weighted_layers(member.module).items()}
    assert member.claims.macs - member.claims.nonzero_macs == sum(uses[name] * zeros[name] for name in uses)
    dense = 4 * member.claims.params
    values = 4 * sum(zeros.values())
    blocks = sum(count / 36 for count in zeros.values())
    assert dense - values < member.claims.weight_bytes < dense - values + 4 * blocks


@pytest.mark.parametrize(
    "document", ['{"sparsity": 0}', '{"n": 3}', '{"n": 4.5}', '{"sparsity": "0.5"}', '{"rearrange": true}', '{"ragged": "pad"}']
)
def test_parameters_out_of_range_are_refused(document: str) -> None:
    good = {"sparsity": 0.5, "n": 16}
    assert TypeAdapter(METHOD).validate_json(json.dumps(good), strict=True) == METHOD(sparsity=0.5, n=16)
    assert type(TypeAdapter(METHOD).validate_json('{"sparsity": 0.5, "n": 16.0}', strict=True).n) is int
    with pytest.raises(ValidationError):
        TypeAdapter(METHOD).validate_json(json.dumps(good | json.loads(document)), strict=True)


def test_weights_on_file_stay_where_the_blocks_are_found(cnn: nn.Module, new_context: NewContext) -> None:
    """Of a whole layer, weight by weight: sparse storage of the blocks gives back what the network multiplies with."""
    from harness.compiler.formats import Bsr, places_first

    weight = compressed(cnn, new_context(), 0.6).get_parameter("conv3.weight").detach().numpy()
    found = places_first(weight)
    blocks = Bsr(4, whole_kernels=True)
    packed = blocks.encode(found)
    assert packed.values.size == int((weight != 0).sum())
    assert np.array_equal(blocks.decode(packed, found.shape), found)
