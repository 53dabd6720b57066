from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from harness.compression.numerics.exchange import Slicing, powers_of_two
from harness.compression.numerics.layers import weighted_layers
from harness.compression.smart_exchange import METHOD
from harness.context import Context
from harness.criterion import CLASSIFICATION
from harness.data.digits import DATA
from harness.errors import UserError
from harness.train import Recipe, evaluate

pytestmark = pytest.mark.torch
NewContext = Callable[..., Context]


@pytest.mark.parametrize("training", ["alternate", "on_grid"])
def test_trained_weights_are_sparse_powers_of_two_times_a_basis(
    cnn: nn.Module, new_context: NewContext, training: Literal["alternate", "on_grid"]
) -> None:
    """Each slice's rows lie in few places: every one is one of the (2 E + 1)^3 combinations of its basis' rows."""
    method = METHOD(sparsity=0.4, exponents=2, training=training, fine_tune_epochs=1, fine_tune_examples=256)
    compressed = method.compress(cnn, DATA(), new_context())
    assert list(compressed.left_alone) == ["conv1"]
    grid = torch.cartesian_prod(*[torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])] * 3)
    assert torch.equal(powers_of_two(grid, 2), grid)
    for name in ("conv2", "conv3"):
        weight = weighted_layers(compressed.members[0].module)[name].weight.detach()
        slices = Slicing.of(weight.shape).cut(weight)
        zero_rows = int((slices == 0).all(2).sum())
        assert zero_rows >= round(0.4 * slices.shape[0] * slices.shape[1])
        for rows in slices:
            assert len(torch.unique(rows, dim=0)) <= len(grid)


def test_either_training_wins_back_what_the_fit_costs(resnet: nn.Module, new_context: NewContext) -> None:
    """Of a network of 4 to 16 channels, where bases weigh most; stem, shortcuts and batch-norm count in the storage."""

    def tried(method: METHOD) -> tuple[float, float]:
        (member,) = method.compress(resnet, DATA(), new_context()).members
        ratio = 4 * member.claims.params / member.claims.weight_bytes
        return evaluate(member.module, DATA().load("test"))["top1"], ratio

    dense = evaluate(resnet, DATA().load("test"))["top1"]
    fitted, ratio = tried(METHOD(sparsity=0.4, fine_tune_epochs=0, solver="plain"))
    by_surgery, same = tried(METHOD(sparsity=0.4, fine_tune_epochs=0))
    assert same == ratio > 4 and by_surgery > fitted + 0.15
    for training in ("alternate", "on_grid"):
        found, same = tried(METHOD(sparsity=0.4, fine_tune_epochs=3, training=training, solver="plain"))
        assert same == ratio
        assert found > max(dense - 0.04, fitted + 0.2)


def test_claims_are_the_formula_and_energies_are_estimated(cnn: nn.Module, new_context: NewContext) -> None:
    compressed = METHOD(sparsity=0.5, fine_tune_epochs=0).compress(cnn, DATA(), new_context())
    (member,) = compressed.members
    sizes = {"conv2": (16, 3 * 8, 3), "conv3": (16, 3 * 16, 3), "classifier": (10, 6, 3)}  # filters, rows, width
    bits = sum(filters * rows // 2 * width * 4 + filters * rows + filters * 80 for filters, rows, width in sizes.values())
    conv1, others = 32 * 8 * 9, 4 * (2 * (8 + 16 + 16) + 10)
    assert member.claims.weight_bytes == -(-(bits + conv1) // 8) + others
    (energy,) = (event for event in compressed.log if event["event"] == "energy")
    assert energy["origin"] == "estimated"
    assert energy["dram_j"] == pytest.approx(bits / 8 * 100e-12)
    assert energy["dram_int8_j"] == pytest.approx((16 * 72 + 16 * 144 + 160) * 100e-12)
    assert energy["rebuild_j"] < 0.05 * (energy["dram_int8_j"] - energy["dram_j"])


def test_a_network_of_tiny_filters_is_a_user_error(new_context: NewContext) -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.AvgPool1d(36), nn.Linear(4, 10))
    with pytest.raises(UserError, match="large enough to share a basis"):
        METHOD().compress(module, DATA(), new_context())


def test_training_on_the_grid_goes_on_after_a_kill_with_the_signs_it_had(cnn: nn.Module, tmp_path: Path) -> None:
    """More steps than one epoch has are needed for a move, so whoever forgets the signs moves nothing."""
    method = METHOD(training="on_grid", switch_bar=6, fine_tune_epochs=2, fine_tune_examples=256)

    def compress(journal: str, kill_at: int | None = None) -> list[bytes]:
        calls: list[float] = []

        def on_progress(_what: str, share: float) -> None:
            calls.append(share)
            if len(calls) == kill_at:
                raise KeyboardInterrupt

        context = Context(0, DATA(), Recipe(batch_size=64, learning_rate=1e-3), CLASSIFICATION, tmp_path / journal, on_progress)
        (member,) = method.compress(cnn, DATA(), context).members
        return [tensor.numpy().tobytes() for tensor in member.module.state_dict().values()]

    whole = compress("one")
    with pytest.raises(KeyboardInterrupt):
        compress("other", kill_at=2)
    assert compress("other") == whole


@pytest.mark.parametrize("solver", ["plain", "obs"])
def test_after_a_kill_nothing_is_fitted_again(
    cnn: nn.Module, new_context: NewContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, solver: Literal["plain", "obs"]
) -> None:
    method = METHOD(fine_tune_epochs=1, fine_tune_examples=128, solver=solver)
    (first,) = method.compress(cnn, DATA(), dataclasses.replace(new_context(), journal=tmp_path)).members
    for fit in ("exchange.fit_weights", "exchange_outputs.fit_outputs"):
        monkeypatch.setattr(f"harness.compression.numerics.{fit}", lambda *_given, **_named: pytest.fail("it was fitted"))
    (again,) = method.compress(cnn, DATA(), dataclasses.replace(new_context(), journal=tmp_path)).members
    for name, weight in first.module.state_dict().items():
        assert torch.equal(weight, again.module.state_dict()[name]), name
