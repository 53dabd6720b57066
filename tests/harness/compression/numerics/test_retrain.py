from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from harness.compression.numerics.retrain import prune_and_retrain
from harness.compression.numerics.tuning import Tuning
from harness.context import Context
from harness.data.digits import DATA

pytestmark = pytest.mark.torch
NewContext = Callable[..., Context]


@pytest.mark.parametrize(("epochs", "samples"), [(0, 0), (1, 0), (0, 100), (1, 100)])
def test_what_a_mask_removes_stays_zero_and_only_training_moves_the_rest(
    cnn: nn.Module, new_context: NewContext, epochs: int, samples: int
) -> None:
    network, context = copy.deepcopy(cnn), new_context()
    mask = torch.rand(cnn.get_parameter("conv2.weight").shape) > 0.5
    tuning = Tuning(fine_tune_epochs=epochs, fine_tune_examples=200)
    prune_and_retrain(network, {"conv2": mask}, cnn, DATA(), context, tuning, samples)
    found, dense = network.get_parameter("conv2.weight"), cnn.get_parameter("conv2.weight")
    assert torch.equal(found == 0, ~mask)
    assert torch.equal(found, dense * mask) == (epochs == 0)
    mean = network.get_buffer("bn2.running_mean")
    assert torch.equal(mean, cnn.get_buffer("bn2.running_mean")) == (epochs == 0 and samples == 0)
    events = [event["event"] for event in context.events]
    assert ("epoch" in events, "bn_reset" in events) == (bool(epochs), bool(samples))
    assert [event["stage"] for event in context.events if event["event"] == "validation"] == ["pruned", "final"]


def test_the_dense_network_teaches_if_asked(cnn: nn.Module, new_context: NewContext) -> None:
    mask = torch.rand(cnn.get_parameter("conv2.weight").shape) > 0.5
    found = []
    for share in (0.0, 1.0):
        network = copy.deepcopy(cnn)
        tuning = Tuning(fine_tune_examples=200, teacher=share)
        prune_and_retrain(network, {"conv2": mask}, cnn, DATA(), new_context(), tuning, 0)
        found.append(network.get_parameter("conv2.weight"))
    assert not torch.equal(*found)
