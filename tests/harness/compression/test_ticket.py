from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from harness.compression import Compressed, Member
from harness.compression.numerics.counting import claims
from harness.compression.ticket import METHOD
from harness.context import Context
from harness.data.digits import DATA
from harness.errors import UserError
from harness.train import Recipe

pytestmark = pytest.mark.torch
NewContext = Callable[..., Context]
FEW: dict[str, Any] = {"fine_tune_examples": 128}
PRUNED = ("conv2", "conv3")


class Watching(Context):
    """Keeps the weights that each training begins and ends with."""

    def train(self, module: nn.Module, recipe: Recipe, **hooks: Any) -> None:
        self.log("begins", weights=[p.detach().clone() for p in module.parameters()])
        super().train(module, recipe, **hooks)
        self.log("ends", weights=[p.detach().clone() for p in module.parameters()])


def watched(
    module: nn.Module, journal: Path, context: Context, **given: Any
) -> tuple[list[list[torch.Tensor]], list[list[torch.Tensor]]]:
    watching = Watching(0, DATA(), context.recipe, context.criterion, journal)
    METHOD(**given, **FEW).compress(module, DATA(), watching)
    begins, ends = ([e["weights"] for e in watching.events if e["event"] == which] for which in ("begins", "ends"))
    return begins, ends


def kept(compressed: Compressed) -> dict[str, torch.Tensor]:
    return {name: compressed.members[0].module.get_parameter(f"{name}.weight") != 0 for name in PRUNED}


def validation(compressed: Compressed) -> float:
    return float([event for event in compressed.log if event["event"] == "validation"][-1]["top1"])


def test_every_round_begins_where_the_first_began_but_for_what_was_pruned(
    cnn: nn.Module, new_context: NewContext, tmp_path: Path
) -> None:
    begins, _ = watched(cnn, tmp_path, new_context(), rounds=3, fine_tune_epochs=1)
    shares = []
    for weights in begins:
        now, first = torch.cat([w.flatten() for w in weights]), torch.cat([p.detach().flatten() for p in cnn.parameters()])
        assert torch.equal(now[now != 0], first[now != 0])
        shares.append(int((now != first).sum()))
    prunable = sum(cnn.get_parameter(f"{name}.weight").numel() for name in PRUNED)
    assert shares == [round((1 - 0.8**number) * prunable) for number in range(4)]


def test_with_rewinding_the_rounds_begin_at_early_weights_of_a_network_drawn_anew(
    cnn: nn.Module, new_context: NewContext, tmp_path: Path
) -> None:
    begins, ends = watched(cnn, tmp_path, new_context(), rounds=1, rewind_epochs=2, fine_tune_epochs=1)
    assert len(begins) == 3
    assert not torch.equal(begins[0][0], next(cnn.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(begins[1], ends[0], strict=True))
    again = torch.cat([w.flatten() for w in begins[2]])
    assert torch.equal(again[again != 0], torch.cat([w.flatten() for w in ends[0]])[again != 0])


def test_filters_that_are_not_refilled_leave_the_network(cnn: nn.Module, new_context: NewContext) -> None:
    def refilled(**given: Any) -> Member:
        return (
            METHOD(structure="refill", rounds=2, fine_tune_epochs=1, **given, **FEW)
            .compress(cnn, DATA(), new_context())
            .members[0]
        )

    def shape(network: nn.Module, name: str) -> tuple[int, ...]:
        return tuple(network.get_parameter(f"{name}.weight").shape)

    smaller, found = refilled().module, refilled().claims
    for name, before in (("conv2", "conv1"), ("conv3", "conv2")):
        assert 0 < shape(smaller, name)[0] < shape(cnn, name)[0] and shape(smaller, name)[1] == shape(smaller, before)[0]
    assert found.macs == found.nonzero_macs < 0.8 * claims(cnn, DATA().spec.example()).macs
    for by in ("activation", "gradient"):
        assert shape(refilled(by=by).module, "conv2") == shape(smaller, "conv2"), "others, of the same number"
    assert shape(refilled(extra=0.5).module, "conv2") > shape(smaller, "conv2")


def test_a_regrouped_network_is_made_of_the_blocks_that_are_logged_and_claims_what_it_keeps(
    cnn: nn.Module, new_context: NewContext
) -> None:
    method = METHOD(structure="regroup", block_rows=4, block_columns=200, rounds=2, fine_tune_epochs=1, **FEW)
    compressed = method.compress(cnn, DATA(), new_context())
    (event,) = (event for event in compressed.log if event["event"] == "regrouped")
    assert event["neighbours"] == list(PRUNED), "conv3 reaches the classifier through a pool"
    last = [event for event in compressed.log if event["event"] == "masks"][-1]["density"]
    for name, mask in kept(compressed).items():
        rows = mask.flatten(1).numpy()
        different = 1 + sum(not np.array_equal(a, b) for a, b in itertools.pairwise(rows))
        assert different == len(rows) // 4 == event["blocks"][name], "filters of a block are neighbours and keep the same"
        assert float(mask.double().mean()) == pytest.approx(last[name])
    claims = compressed.members[0].claims
    assert claims.nonzero_macs < 0.75 * claims.macs


def test_what_cannot_be_pruned_is_a_user_error(new_context: NewContext) -> None:
    with pytest.raises(UserError, match="no layer can be pruned: 1: the classifier"):
        METHOD().compress(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), DATA(), new_context())


def test_filters_of_a_residual_stream_leave_together_and_what_cannot_leave_is_said(
    resnet: nn.Module, new_context: NewContext
) -> None:
    method = METHOD(structure="refill", rounds=1, prune=0.4, fine_tune_epochs=0)
    smaller = method.compress(resnet, DATA(), new_context()).members[0].module
    assert len(smaller.get_parameter("conv.weight")) < len(resnet.get_parameter("conv.weight"))
    assert smaller(torch.zeros(2, *DATA().spec.input_shape)).shape == (2, 10)
    shuffled = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3), nn.PixelShuffle(2), nn.Conv2d(2, 10, 8))
    with pytest.raises(UserError, match=r"no filter can leave: .*1: "):
        method.compress(nn.Sequential(*shuffled, nn.Flatten()), DATA(), new_context())


@pytest.mark.nightly
def test_single_weights_win_over_blocks_and_blocks_over_filters_and_chosen_filters_over_random_ones(
    cnn: nn.Module, new_context: NewContext
) -> None:
    """At half of the weights, over three seeds. Filters are those of the largest weights: by count they are hardly better than random."""
    variants: list[dict[str, Any]] = [
        {}, {"structure": "regroup", "block_rows": 4}, {"structure": "refill", "by": "weight"}, {"structure": "refill", "by": "random"}
    ]  # fmt: skip
    means = [
        np.mean([validation(METHOD(fine_tune_epochs=2, **given).compress(cnn, DATA(), new_context(seed))) for seed in range(3)])
        for given in variants
    ]
    assert means == sorted(means, reverse=True) and len(set(means)) == 4
