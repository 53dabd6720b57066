from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from harness import plugins
from harness.compression.numerics.regularity import parse
from harness.compression.scheme_prune import METHOD
from harness.context import Context
from harness.data.digits import DATA
from harness.errors import UserError
from harness.train import evaluate

pytestmark = pytest.mark.torch
NewContext = Callable[..., Context]


def once(module: nn.Module, context: Context, scheme: str, sparsity: float = 0.5) -> nn.Module:
    method = METHOD(sparsity=sparsity, scheme=scheme, fine_tune_epochs=0)
    return method.compress(module, DATA(), context).members[0].module


@pytest.mark.parametrize(
    ("scheme", "sparsity"),
    [
        ("unstructured", 0.7),
        ("1x8", 0.5),
        ("block-punched 8x4", 0.5),
        ("block 4x4", 0.6),
        ("pattern", 0.75),
        ("2:4", 0.5),
        ("filter", 0.5),
    ],
)
def test_the_zeros_are_the_regularitys(cnn: nn.Module, new_context: NewContext, scheme: str, sparsity: float) -> None:
    pruned = once(cnn, new_context(), scheme, sparsity)
    for name in ("conv2", "conv3"):
        weight = cnn.get_parameter(f"{name}.weight").detach()
        assert torch.equal(pruned.get_parameter(f"{name}.weight"), weight * parse(scheme).mask(weight, sparsity))
    for name in ("conv1.weight", "classifier.weight"):
        assert torch.equal(pruned.get_parameter(name), cnn.get_parameter(name))


def test_finer_regularities_cost_less_accuracy(cnn: nn.Module, new_context: NewContext) -> None:
    """Without training, where it shows most."""

    def loss(scheme: str) -> float:
        return evaluate(once(cnn, new_context(), scheme, 0.3), DATA().load("test"))["loss"]

    found = [loss(scheme) for scheme in ("unstructured", "block-punched 4x4", "filter")]
    assert found == sorted(found)


def test_a_map_gives_each_layer_its_own(cnn: nn.Module, new_context: NewContext) -> None:
    method = METHOD(sparsity=0.5, scheme="dense", layers=("conv2: 1x4@0.75", "classifier: block 5x4@0.5"), fine_tune_epochs=0)
    found = method.compress(cnn, DATA(), new_context())
    pruned = found.members[0].module
    assert float((pruned.get_parameter("conv2.weight") == 0).double().mean()) == 0.75
    assert 0.3 < float((pruned.get_parameter("classifier.weight") == 0).double().mean()) <= 0.5
    assert found.left_alone == {"conv1": "dense by its scheme", "conv3": "dense by its scheme"}


def test_dense_for_all_is_a_baseline_with_the_same_training(cnn: nn.Module, new_context: NewContext) -> None:
    found = METHOD(sparsity=0.5, scheme="dense").compress(cnn, DATA(), new_context())
    (member,) = found.members
    assert member.claims.nonzero_params == member.claims.params
    assert len(found.left_alone) == 4
    assert not torch.equal(member.module.get_parameter("conv2.weight"), cnn.get_parameter("conv2.weight"))


@pytest.mark.parametrize(
    ("training", "scope", "rounds", "strength"), [("reweighted", "global", 6, 0.01), ("admm", "local", 3, 0.1)]
)
def test_training_towards_zeros_makes_the_cut_smaller(
    cnn: nn.Module,
    new_context: NewContext,
    training: Literal["reweighted", "admm"],
    scope: Literal["local", "global"],
    rounds: int,
    strength: float,
) -> None:
    """Right after pruning, before any fine-tuning: what is cut off was no longer needed. The lasso finds each layer's share by itself."""
    events, distances = [], []
    for chosen in ("none", training):
        context = new_context()
        method = METHOD(
            sparsity=0.6,
            scheme="1x4",
            scope=scope,
            training=chosen,
            rounds=rounds,
            round_epochs=2,
            strength=strength,
            fine_tune_epochs=0,
        )
        method.compress(cnn, DATA(), context)
        events.append(next(event for event in context.events if event["event"] == "validation"))
        distances = [event["distance"] for event in context.events if event["event"] == "admm"]
    once, trained = events
    assert trained["stage"] == "pruned"
    assert trained["loss"] < 0.7 * once["loss"]
    assert trained["top1"] > once["top1"] + 0.15
    if training == "admm":
        assert len(distances) == rounds
        assert distances[-1] < 0.3 * distances[0]


@pytest.mark.parametrize("training", ["reweighted", "admm"])
def test_a_killed_training_goes_on_to_the_same_bits(
    cnn: nn.Module, new_context: NewContext, training: Literal["reweighted", "admm"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the second of three rounds; the first two are taken up from the journal, not trained again."""
    method = METHOD(sparsity=0.5, scheme="1x4", training=training, rounds=3, fine_tune_examples=300)
    whole = method.compress(cnn, DATA(), new_context()).members[0].module

    context = new_context()
    trained = Context.train

    def killed(self: Context, module: nn.Module, recipe: object, **hooks: object) -> None:
        if len([e for e in self.events if e["event"] == "train"]) == 2:
            raise KeyboardInterrupt
        trained(self, module, recipe, **hooks)  # type: ignore[arg-type]

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Context, "train", killed)
        method.compress(cnn, DATA(), context)
    again = Context(context.seed, context.data, context.recipe, context.criterion, context.journal)
    resumed = method.compress(cnn, DATA(), again).members[0].module
    for name, tensor in whole.state_dict().items():
        assert torch.equal(
            tensor, resumed.get_parameter(name) if name in dict(resumed.named_parameters()) else resumed.get_buffer(name)
        )


def test_global_scope_lets_layers_differ(cnn: nn.Module, new_context: NewContext) -> None:
    method = METHOD(sparsity=0.5, scheme="1x4", scope="global", fine_tune_epochs=0)
    pruned = method.compress(cnn, DATA(), new_context()).members[0].module
    shares = [float((pruned.get_parameter(f"{name}.weight") == 0).double().mean()) for name in ("conv2", "conv3")]
    assert shares[0] != shares[1]
    removed = sum(int((pruned.get_parameter(f"{name}.weight") == 0).sum()) for name in ("conv2", "conv3")) / 36
    assert removed == round(0.5 * (16 * 8 / 4 + 16 * 16 / 4))


def test_a_network_that_the_scheme_does_not_suit_is_a_user_error(new_context: NewContext) -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    with pytest.raises(UserError, match=r"no layer can be pruned: .*1: `pattern`: only for 3x3 kernels"):
        METHOD(sparsity=0.75, scheme="pattern").compress(module, DATA(), new_context())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"scheme": "1y16"}, "unknown regularity"),
        ({"scheme": "pattern"}, "alone removes 0.5556"),
        ({"scheme": "2:4", "sparsity": 0.6}, "`2:4` removes 0.5"),
        ({"scheme": "dense", "training": "admm"}, "nothing to push"),
        ({"layers": ["conv2"]}, "expected `layer: scheme`"),
        ({"layers": ["conv2: 1x4@2"]}, "sparsity between 0 and 1"),
        ({"scope": "global", "scheme": "2:4"}, "ranks units of one kind"),
        ({"scope": "global", "layers": ["conv2: 1x4@0.5"]}, "ranks units of one kind"),
    ],
)
def test_what_cannot_be_is_refused_at_plan(params: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plugins.resolve("methods", "scheme_prune", {"sparsity": 0.5} | params)


@pytest.mark.parametrize("document", ['{"sparsity": 1}', '{"training": "lasso"}', '{"rounds": 0}', '{"strength": 0}'])
def test_parameters_out_of_range_are_refused(document: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(METHOD).validate_json(json.dumps({"sparsity": 0.5} | json.loads(document)), strict=True)
