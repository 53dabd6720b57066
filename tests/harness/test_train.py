from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from harness.criterion import CLASSIFICATION, Criterion
from harness.data import Batch
from harness.data.digits import DATA
from harness.errors import BuildError
from harness.train import Recipe, augmented, derived_seed, evaluate, mean_loss, train

pytestmark = pytest.mark.torch

torch.set_num_threads(1)  # another number sums in another order, and would give other bits

RECIPE = Recipe(epochs=4, batch_size=256, learning_rate=1e-2, augment="shift", label_smoothing=0.1, warmup_epochs=0.5)


class InterruptedTrainingError(Exception):
    pass


def network() -> nn.Module:
    """With batch-norm statistics and drop-out, so that all that a training carries along is there."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10))


def bits(module: nn.Module) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in module.state_dict().values()]


def interrupt_at(step: int) -> Any:
    seen = []

    def after_step(_module: nn.Module) -> None:
        seen.append(1)
        if len(seen) == step:
            raise InterruptedTrainingError

    return after_step


def test_rate_rises_linearly_and_falls_as_half_a_cosine() -> None:
    recipe = Recipe(epochs=10, learning_rate=2.0, warmup_epochs=2.0)
    assert [round(recipe.rate(epoch), 6) for epoch in (0.0, 1.0, 2.0, 6.0, 10.0)] == [0.0, 1.0, 2.0, 1.0, 0.0]


def test_fine_tuning_keeps_the_recipe_but_for_its_length_and_warm_up() -> None:
    assert RECIPE.fine_tuning(7) == dataclasses.replace(RECIPE, epochs=7, warmup_epochs=0.0)


def test_derived_seeds_differ_by_name_and_never_change() -> None:
    assert derived_seed(0, "epoch", 1) == 0x6A08C5908BFE0068
    assert len({derived_seed(seed, name) for seed in range(10) for name in "abc"}) == 30


def test_training_learns_and_leaves_eval_mode() -> None:
    module = network()
    before = evaluate(module, DATA().load("validation"))
    train(module, DATA(), dataclasses.replace(RECIPE, epochs=15), seed=0)
    after = evaluate(module, DATA().load("validation"))
    assert after["top1"] > 0.8 > before["top1"]
    assert not any(part.training for part in module.modules())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_is_a_function_of_its_seed_alone(optimizer: Any) -> None:
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer, epochs=2)
    results = []
    for seed, disturbance in ((0, 1), (0, 2), (1, 1)):
        module = network()
        torch.manual_seed(disturbance)
        np.random.seed(disturbance)
        train(module, DATA(), recipe, seed=seed)
        results.append(bits(module))
    assert results[0] == results[1] != results[2]


def test_training_leaves_the_global_generator_alone() -> None:
    module = network()
    before = torch.get_rng_state()
    train(module, DATA(), dataclasses.replace(RECIPE, epochs=1), seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "step", [3, 5, 6, 14, 20]
)  # 5 steps an epoch: inside the first, at the end of one, at the start of one ...
def test_an_interrupted_training_ends_with_the_bits_of_an_undisturbed_one(tmp_path: Path, step: int) -> None:
    undisturbed, events = network(), list[dict[str, Any]]()
    train(undisturbed, DATA(), RECIPE, seed=0, log=lambda event, **facts: events.append({"event": event, **facts}))
    with pytest.raises(InterruptedTrainingError):
        train(network(), DATA(), RECIPE, seed=0, journal=tmp_path, after_step=interrupt_at(step))
    for path in list(tmp_path.glob("*.pt")):  # as a kill inside a write would leave it
        path.with_name(f"{path.name}.part").write_bytes(b"half a file")
    resumed, again = network(), list[dict[str, Any]]()
    steps: list[int] = []
    train(
        resumed,
        DATA(),
        RECIPE,
        seed=0,
        journal=tmp_path,
        after_step=lambda _module: steps.append(1),
        log=lambda event, **facts: again.append({"event": event, **facts}),
    )
    assert bits(resumed) == bits(undisturbed)
    assert again == events
    assert len(steps) == 20 - 5 * ((step - 1) // 5)


def test_a_loss_is_minimised_in_place_of_the_plain_one_and_sees_what_it_was_made_of() -> None:
    module, seen = network(), list[tuple[float, float]]()

    def loss(trained: nn.Module, inputs: torch.Tensor, outputs: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
        assert trained is module
        assert len(inputs) == len(outputs)
        seen.append((float(plain.detach()), float(outputs.detach().abs().max())))
        return (outputs**2).mean()

    train(module, DATA(), dataclasses.replace(RECIPE, epochs=15), seed=0, loss=loss)
    assert len(seen) == 15 * 5
    assert all(plain > 0 for plain, _ in seen)
    assert seen[-1][1] < 0.3 * seen[0][1]  # what is squeezed is the answers, not the errors
    assert evaluate(module, DATA().load("validation"))["top1"] < 0.5


def test_hooks_run_between_gradients_and_step_and_behind_it() -> None:
    module, order = network(), list[tuple[str, bool]]()
    first = module.get_parameter("1.weight")
    start = first.detach().clone()

    def before_step(_module: nn.Module) -> None:
        assert first.grad is not None
        order.append(("before", torch.equal(first.detach(), start)))
        first.grad = None  # the optimizer leaves alone what has no gradient

    train(
        module,
        DATA(),
        dataclasses.replace(RECIPE, epochs=1),
        seed=0,
        before_step=before_step,
        after_step=lambda _module: order.append(("after", True)),
    )
    assert order == [("before", True), ("after", True)] * 5
    assert torch.equal(first.detach(), start)


def test_what_a_hook_remembers_in_buffers_survives_a_kill(tmp_path: Path) -> None:
    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()
            self.steps: torch.Tensor
            self.register_buffer("steps", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.inner(x)
            return answer

        def before_step(self, _module: nn.Module) -> None:
            self.steps += 1.0
            for parameter in self.inner.parameters():
                assert parameter.grad is not None
                parameter.grad *= 1.0 + self.steps  # so that a forgotten count would give other weights

    undisturbed, killed, resumed = Remembering(), Remembering(), Remembering()
    recipe = dataclasses.replace(RECIPE, optimizer="sgd")
    train(undisturbed, DATA(), recipe, seed=0, before_step=undisturbed.before_step)
    with pytest.raises(InterruptedTrainingError):
        train(killed, DATA(), recipe, seed=0, journal=tmp_path, before_step=killed.before_step, after_step=interrupt_at(13))
    train(resumed, DATA(), recipe, seed=0, journal=tmp_path, before_step=resumed.before_step)
    assert bits(resumed) == bits(undisturbed)
    assert float(resumed.steps) == 20


def test_an_epoch_of_some_examples_draws_others_each_time() -> None:
    seen: list[torch.Tensor] = []

    def loss(_module: nn.Module, inputs: torch.Tensor, _outputs: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
        seen.append(inputs)
        return plain

    recipe = dataclasses.replace(RECIPE, epochs=2, batch_size=60, epoch_examples=100, augment="none")
    train(network(), DATA(), recipe, seed=0, loss=loss)
    assert [len(inputs) for inputs in seen] == [50, 50, 50, 50]
    epochs = [{image.numpy().tobytes() for image in torch.cat(seen[start : start + 2])} for start in (0, 2)]
    assert len(epochs[0]) == 100
    assert epochs[0] != epochs[1]


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    first, second = network(), network()
    train(first, DATA(), RECIPE, seed=0, journal=tmp_path)
    train(second, DATA(), RECIPE, seed=0, journal=tmp_path, after_step=interrupt_at(1))
    assert bits(first) == bits(second)


@pytest.mark.parametrize("change", ["seed", "recipe", "weights"])
def test_a_journal_of_another_training_is_not_taken_up(tmp_path: Path, change: str) -> None:
    train(network(), DATA(), RECIPE, seed=0, journal=tmp_path)
    module = network()
    if change == "weights":
        with torch.no_grad():
            next(module.parameters()).add_(1e-3)
    recipe = dataclasses.replace(RECIPE, learning_rate=2e-2) if change == "recipe" else RECIPE
    with pytest.raises(InterruptedTrainingError):
        train(module, DATA(), recipe, seed=int(change == "seed"), journal=tmp_path, after_step=interrupt_at(1))


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    train(network(), DATA(), RECIPE, seed=0, journal=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BuildError, match=rf"{path.name}.*damaged.*delete it"):
        train(network(), DATA(), RECIPE, seed=0, journal=tmp_path)


def test_a_diverged_training_is_a_build_error() -> None:
    with pytest.raises(BuildError, match="diverged in epoch 1"):
        train(network(), DATA(), dataclasses.replace(RECIPE, optimizer="sgd", learning_rate=1e30), seed=0)


def test_no_epochs_change_nothing() -> None:
    module = network()
    before = bits(module)
    train(module, DATA(), dataclasses.replace(RECIPE, epochs=0), seed=0)
    assert bits(module) == before


def test_progress_rises_to_one() -> None:
    shares: list[float] = []
    train(network(), DATA(), dataclasses.replace(RECIPE, epochs=2), seed=0, on_progress=lambda _what, share: shares.append(share))
    assert shares == [0.0, 0.5, 1.0]


def test_weight_decay_spares_biases_and_batchnorm() -> None:
    module = network()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1.0)
    frozen = dataclasses.replace(
        RECIPE, epochs=1, optimizer="sgd", momentum=0.0, weight_decay=0.5, learning_rate=0.1, augment="none"
    )
    zero_loss = nn.Sequential(module, _Constant())
    train(zero_loss, DATA(), frozen, seed=0)
    assert all(bool((p == 1.0).all()) for p in module.parameters() if p.dim() < 2)
    assert all(bool((p < 1.0).all()) for p in module.parameters() if p.dim() >= 2)


class _Constant(nn.Module):
    """No gradient reaches what is before it, so that weight decay alone acts."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0.0


def test_evaluate_counts_hits_and_mean_loss_over_several_batches() -> None:
    rng = np.random.default_rng(0)
    batch = Batch(rng.normal(size=(1203, 5)).astype(np.float32), rng.integers(0, 5, 1203))
    shifted = batch.inputs - batch.inputs.max(1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    result = evaluate(nn.Identity(), batch)
    assert result["top1"] == sum(int(x.argmax() == y) for x, y in zip(batch.inputs, batch.labels, strict=True)) / 1203
    assert result["loss"] == pytest.approx(-log_probability[np.arange(1203), batch.labels].mean(), rel=1e-5)


def test_evaluate_uses_eval_mode_and_gives_the_modes_back() -> None:
    module = network()
    module.train()
    module[2].eval()  # type: ignore[index]
    modes = [part.training for part in module.modules()]
    before = bits(module)
    assert evaluate(module, DATA().load("test")) == evaluate(module, DATA().load("test"))
    assert [part.training for part in module.modules()] == modes
    assert bits(module) == before


def test_shift_moves_each_image_by_at_most_one_pixel_in_eight() -> None:
    images = DATA().load("test").inputs[:40]
    moves = set()
    for image, moved in zip(images, augmented(images, "shift", np.random.default_rng(0)), strict=True):
        padded = np.pad(image[0], 1)
        fits = [(y, x) for y in range(3) for x in range(3) if np.array_equal(moved[0], padded[y : y + 8, x : x + 8])]
        assert fits
        moves.add(fits[0])
    assert len(moves) == 9


def test_crop_flip_is_a_crop_of_the_padded_image_or_its_mirror() -> None:
    images = np.random.default_rng(1).random((30, 2, 6, 5)).astype(np.float32)
    mirrored = 0
    for image, moved in zip(images, augmented(images, "crop_flip", np.random.default_rng(0)), strict=True):
        padded = np.pad(image, ((0, 0), (4, 4), (4, 4)))
        crops = [padded[:, y : y + 6, x : x + 5] for y in range(9) for x in range(9)]
        plain = any(np.array_equal(moved, crop) for crop in crops)
        assert plain or any(np.array_equal(moved[:, :, ::-1], crop) for crop in crops)
        mirrored += not plain
    assert 5 < mirrored < 25


def test_no_augmentation_gives_the_inputs_themselves() -> None:
    images = DATA().load("test").inputs[:3]
    assert augmented(images, "none", np.random.default_rng(0)) is images


def test_losses_are_numpys() -> None:
    scores, labels = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]], np.float32), [1, 1, 0]
    outputs, inputs = torch.tensor(scores), torch.zeros(3, 2)
    entropy = -np.mean([math.log(np.exp(row[label]) / np.exp(row).sum()) for row, label in zip(scores, labels, strict=True)])
    assert float(mean_loss(CLASSIFICATION, outputs, inputs, torch.tensor(labels))) == pytest.approx(entropy, rel=1e-6)
    squares = mean_loss(Criterion(("auc",), "reconstruction"), outputs, inputs, torch.tensor(labels))
    assert float(squares) == pytest.approx(float((scores**2).mean()), rel=1e-6)
