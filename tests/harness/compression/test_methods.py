"""What every method promises, tried on every method file there is."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pickle
import pkgutil
from collections.abc import Callable

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

import harness.compression
from harness.compression import Claims, Compressed, Method
from harness.compression.numerics.layers import weighted_layers
from harness.context import Context
from harness.data.digits import DATA

pytestmark = pytest.mark.torch

NAMES = [module.name for module in pkgutil.iter_modules(harness.compression.__path__) if not module.ispkg]
NewContext = Callable[..., Context]


def method(name: str) -> Method:
    """With its defaults, half of what must be named, and one epoch of fine-tuning where it can."""
    found = importlib.import_module(f"harness.compression.{name}").METHOD
    given = required(found) | ({"fine_tune_epochs": 1} if "fine_tune_epochs" in found.__dataclass_fields__ else {})
    return found(**given)  # type: ignore[no-any-return]


def required(found: type) -> dict[str, float]:
    return {f.name: 0.5 for f in dataclasses.fields(found) if f.default is dataclasses.MISSING}


def network(name: str, request: pytest.FixtureRequest) -> nn.Module:
    module: nn.Module = request.getfixturevalue(name)
    return module


def bits(compressed: Compressed) -> list[bytes]:
    tensors = [t for m in compressed.members for module in (m.module, m.reference) for t in module.state_dict().values()]
    return [t.numpy().tobytes() for t in tensors]


@pytest.fixture(params=[(name, net) for name in NAMES for net in ("cnn", "resnet")], ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[Method, nn.Module]:
    name, net = request.param
    return method(name), network(net, request)


def test_the_folder_holds_the_methods_that_are_promised() -> None:
    assert {"float32", "int8_ptq", "magnitude_prune", "channel_prune"} <= set(NAMES)


def test_the_argument_is_never_edited(case: tuple[Method, nn.Module], new_context: NewContext) -> None:
    chosen, module = case
    module.train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    structure = repr(module)
    compressed = chosen.compress(module, DATA(), new_context())
    assert module.training
    assert repr(module) == structure
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    ours = {p.data_ptr() for p in module.parameters()}
    assert not ours & {p.data_ptr() for m in compressed.members for p in m.module.parameters()}


def test_the_same_seed_gives_the_same_bits(case: tuple[Method, nn.Module], new_context: NewContext) -> None:
    chosen, module = case
    torch.manual_seed(1)
    first = chosen.compress(module, DATA(), new_context(5))
    torch.manual_seed(2)
    second = chosen.compress(module, DATA(), new_context(5))
    assert bits(first) == bits(second)
    assert first.log == second.log
    assert [m.claims for m in first.members] == [m.claims for m in second.members]


def test_members_answer_in_eval_mode_and_export_with_any_batch(case: tuple[Method, nn.Module], new_context: NewContext) -> None:
    chosen, module = case
    x = torch.tensor(DATA().load("test").inputs[:5])
    for member in chosen.compress(module, DATA(), new_context()).members:
        assert not any(part.training for network in (member.module, member.reference) for part in network.modules())
        program = torch.export.export(member.module, (x[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
        with torch.no_grad():
            assert member.reference(x).shape == (5, 10)
            assert torch.allclose(program.module()(x), member.module(x), atol=1e-5)


def test_members_can_be_pickled(case: tuple[Method, nn.Module], new_context: NewContext) -> None:
    chosen, module = case
    x = torch.tensor(DATA().load("test").inputs[:5])
    member = chosen.compress(module, DATA(), new_context()).members[0]
    with torch.no_grad():
        assert torch.equal(pickle.loads(pickle.dumps(member.module))(x), member.module(x))
        assert torch.equal(pickle.loads(pickle.dumps(member.reference))(x), member.reference(x))


def test_claims_are_within_what_the_dense_network_claims(case: tuple[Method, nn.Module], new_context: NewContext) -> None:
    chosen, module = case
    dense = method("float32").compress(module, DATA(), new_context()).members[0].claims
    compressed = chosen.compress(module, DATA(), new_context())
    claims = compressed.members[0].claims
    assert 0 < claims.nonzero_macs <= claims.macs <= dense.macs
    assert 0 < claims.nonzero_params <= claims.params <= dense.params
    assert claims.weight_bytes <= dense.weight_bytes
    assert all(type(getattr(claims, field.name)) in (int, float) for field in dataclasses.fields(Claims))
    assert (claims == dense) == (type(chosen).__name__ == "Float32")


def test_log_is_json_and_shows_the_validation_accuracy(case: tuple[Method, nn.Module], new_context: NewContext) -> None:
    chosen, module = case
    log = chosen.compress(module, DATA(), new_context()).log
    assert json.loads(json.dumps(log)) == list(log)
    assert [0.0 <= event["top1"] <= 1.0 for event in log if event["event"] == "validation"]


def test_left_alone_names_layers_and_reasons(case: tuple[Method, nn.Module], new_context: NewContext) -> None:
    chosen, module = case
    compressed = chosen.compress(module, DATA(), new_context())
    names = {name for name, _ in module.named_modules()}
    assert set(compressed.left_alone) <= names
    assert all(reason for reason in compressed.left_alone.values())
    assert compressed.numeric == chosen.numeric
    assert (compressed.quantization is None) == (compressed.calibration is None) == (compressed.numeric == "float32")


def test_layers_keep_their_names(case: tuple[Method, nn.Module], new_context: NewContext) -> None:
    chosen, module = case
    assert list(weighted_layers(chosen.compress(module, DATA(), new_context()).members[0].module)) == list(
        weighted_layers(module)
    )


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_validated_from_json(name: str) -> None:
    found = importlib.import_module(f"harness.compression.{name}").METHOD
    assert TypeAdapter(found).validate_json(json.dumps(required(found)), strict=True) == found(**required(found))
