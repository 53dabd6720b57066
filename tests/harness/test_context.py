from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.context import Context
from harness.criterion import CLASSIFICATION
from harness.data.digits import DATA
from harness.train import Recipe, evaluate

pytestmark = pytest.mark.torch

torch.set_num_threads(1)  # another number sums in another order, and would give other bits

RECIPE = Recipe(epochs=1, batch_size=512)


def context(folder: Path, seed: int = 0, **more: Any) -> Context:
    return Context(seed, DATA(), RECIPE, CLASSIFICATION, folder, **more)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def bits(module: nn.Module) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in module.state_dict().values()]


def test_rng_depends_on_seed_and_name_only(tmp_path: Path) -> None:
    def draw(seed: int, name: str) -> list[float]:
        return list(context(tmp_path, seed).rng(name).random(3))

    assert draw(0, "a") == draw(0, "a")
    assert draw(0, "a") != draw(0, "b")
    assert draw(0, "a") != draw(1, "a")


def test_rng_of_one_name_starts_anew_each_time(tmp_path: Path) -> None:
    one = context(tmp_path)
    assert one.rng("a").random() == one.rng("a").random()


def test_log_keeps_events_in_order(tmp_path: Path) -> None:
    one = context(tmp_path)
    one.log("masks", density=0.5)
    one.log("end")
    assert one.events == [{"event": "masks", "density": 0.5}, {"event": "end"}]


def test_train_logs_reports_progress_and_calls_after_step(tmp_path: Path) -> None:
    shares, steps = list[float](), list[int]()
    one = context(tmp_path, on_progress=lambda _what, share: shares.append(share))
    one.train(network(), RECIPE, after_step=lambda _module: steps.append(1))
    assert [event["event"] for event in one.events] == ["train", "epoch"]
    assert shares == [0.0, 1.0]
    assert len(steps) == 3  # 1259 examples in batches of 512


def test_trainings_of_one_context_have_their_own_seeds_and_journals(tmp_path: Path) -> None:
    one, first, second = context(tmp_path), network(), network()
    one.train(first, RECIPE)
    one.train(second, RECIPE)
    assert bits(first) != bits(second)
    assert sorted(path.parent.name for path in tmp_path.rglob("*.pt")) == ["training-0", "training-1"]


def test_a_second_context_over_the_same_journal_takes_up_what_the_first_left(tmp_path: Path) -> None:
    first, second = network(), network()
    context(tmp_path).train(first, RECIPE)

    def unexpected(_module: nn.Module) -> None:
        raise AssertionError("trained again")

    context(tmp_path).train(second, RECIPE, after_step=unexpected)
    assert bits(first) == bits(second)


def test_evaluate_uses_the_validation_split(tmp_path: Path) -> None:
    module = network()
    assert context(tmp_path).evaluate(module) == evaluate(module, DATA().load("validation"))
    assert context(tmp_path).evaluate(module) != evaluate(module, DATA().load("test"))


def test_evaluate_may_take_the_first_examples_alone(tmp_path: Path) -> None:
    module, few = network(), DATA().load("validation", 20)
    assert context(tmp_path).evaluate(module, 20) == evaluate(module, few, CLASSIFICATION)
    assert context(tmp_path).evaluate(module) == evaluate(module, DATA().load("validation"), CLASSIFICATION)
