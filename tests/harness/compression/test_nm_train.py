from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from harness.compression.nm_train import METHOD
from harness.compression.numerics.layers import weighted_layers
from harness.context import Context
from harness.data.digits import DATA
from harness.errors import UserError
from harness.train import evaluate

pytestmark = pytest.mark.torch
NewContext = Callable[..., Context]


def most_of_each(weight: torch.Tensor, m: int) -> int:
    """Non-zeros in the fullest group of m input channels at one place."""
    groups = (weight != 0).flatten(2).transpose(1, 2) if weight.dim() > 2 else (weight != 0)[:, None]
    return int(groups.unflatten(2, (-1, m)).sum(3).max())  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(("n", "inherit"), [(2, True), (1, False)])
def test_exactly_n_of_each_m_input_channels_stay(cnn: nn.Module, new_context: NewContext, n: int, inherit: bool) -> None:
    method = METHOD(n=n, m=4, inherit=inherit, fine_tune_epochs=1, fine_tune_examples=256)
    compressed = method.compress(cnn, DATA(), new_context())
    layers = weighted_layers(compressed.members[0].module)
    assert compressed.left_alone.keys() == {"conv1"}  # one input channel
    for name in layers.keys() - {"conv1"}:
        weight = layers[name].weight.detach()
        assert most_of_each(weight, 4) == n
        assert int((weight != 0).sum()) == weight.numel() * n // 4
    assert bool((layers["conv1"].weight != 0).all())


def test_the_family_is_trained_one_from_the_other_and_its_accuracies_are_logged(cnn: nn.Module, new_context: NewContext) -> None:
    log = METHOD(n=1, m=4, fine_tune_epochs=2).compress(cnn, DATA(), new_context()).log
    stages = [event["stage"] for event in log if event["event"] == "validation"]
    assert stages == ["3:4 pruned", "3:4", "2:4 pruned", "2:4", "1:4 pruned", "1:4"]
    assert [event["epochs"] for event in log if event["event"] == "train"] == [2, 2, 2]
    at_once = METHOD(n=1, m=4, fine_tune_epochs=2, inherit=False).compress(cnn, DATA(), new_context()).log
    assert [event["epochs"] for event in at_once if event["event"] == "train"] == [6]


def test_training_wins_back_what_pruning_costs(resnet: nn.Module, new_context: NewContext) -> None:
    def top1(method: METHOD) -> float:
        return evaluate(method.compress(resnet, DATA(), new_context()).members[0].module, DATA().load("test"))["top1"]

    dense = evaluate(resnet, DATA().load("test"))["top1"]
    assert top1(METHOD(n=2, m=4, fine_tune_epochs=2)) > dense - 0.05
    assert top1(METHOD(n=1, m=4, fine_tune_epochs=2)) > top1(METHOD(n=1, m=4, fine_tune_epochs=0)) + 0.3


def test_storage_counts_values_and_offsets(cnn: nn.Module, new_context: NewContext) -> None:
    """2:4: a float and two bits for each value that is kept."""
    (member,) = METHOD(n=2, m=4, fine_tune_epochs=0).compress(cnn, DATA(), new_context()).members
    sizes = {name: layer.weight.numel() for name, layer in weighted_layers(member.module).items()}
    dense_bits = 32 * sizes.pop("conv1")
    packed = sum(size // 2 * 34 for size in sizes.values())
    others = 4 * (member.claims.params - sum(sizes.values()) - dense_bits // 32)
    assert abs(member.claims.weight_bytes - (dense_bits + packed) / 8 - others) <= 4 * len(sizes)  # whole bytes a layer


def test_nothing_to_prune_is_a_user_error(new_context: NewContext) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(UserError, match="multiple of m = 7"):
        METHOD(n=1, m=7).compress(module, DATA(), new_context())
    with pytest.raises(UserError, match="leaves nothing out"):
        METHOD(n=4, m=4)
