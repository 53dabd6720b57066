"""What every method promises, tried on every method file there is."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import json
import pickle
import pkgutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

import harness.compression
from harness.compression import Claims, Compressed, Method
from harness.compression.numerics.layers import weighted_layers
from harness.context import Context
from harness.criterion import CLASSIFICATION
from harness.data.digits import DATA
from harness.models.networks.onnx_network import network_of
from harness.train import Recipe

pytestmark = pytest.mark.torch

NAMES = [module.name for module in pkgutil.iter_modules(harness.compression.__path__) if not module.ispkg]
RECIPE = Recipe(epochs=10, batch_size=64, learning_rate=4e-3, weight_decay=1e-2)


def method(name: str) -> Method:
    """With its defaults, half of what must be named, and a little fine-tuning where it can."""
    found = importlib.import_module(f"harness.compression.{name}").METHOD
    small = {"fine_tune_epochs": 1, "fine_tune_examples": 256, "rounds": 1}
    given = {key: value for key, value in small.items() if key in found.__dataclass_fields__}
    return found(**required(found), **given)  # type: ignore[no-any-return]


def required(found: type) -> dict[str, float]:
    return {f.name: 0.5 for f in dataclasses.fields(found) if f.default is dataclasses.MISSING}


def bits(compressed: Compressed) -> list[bytes]:
    tensors = [t for m in compressed.members for module in (m.module, m.reference) for t in module.state_dict().values()]
    return [t.numpy().tobytes() for t in tensors]


class Case(NamedTuple):
    """A method tried on a network once; most promises are read off what came out."""

    method: Method
    module: nn.Module
    compressed: Compressed
    again: Compressed
    """From the same seed, with other global generators."""


@pytest.fixture(scope="module", params=[(name, net) for name in NAMES for net in ("cnn", "resnet")], ids="-".join)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The argument is in train mode and must come back unchanged."""
    name, net = request.param
    chosen, module = method(name), copy.deepcopy(request.getfixturevalue(net)).train()
    before, structure = copy.deepcopy(module.state_dict()), repr(module)

    def compress(disturbance: int) -> Compressed:
        torch.manual_seed(disturbance)
        return chosen.compress(module, DATA(), Context(5, DATA(), RECIPE, CLASSIFICATION, tmp_path_factory.mktemp("journal")))

    with torch.random.fork_rng(devices=[]):
        found = Case(chosen, module, compress(1), compress(2))
    assert module.training and repr(module) == structure
    assert all(torch.equal(before[key], tensor) for key, tensor in module.state_dict().items())
    return found


@pytest.fixture(scope="module")
def dense(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Claims:
    context = Context(5, DATA(), RECIPE, CLASSIFICATION, tmp_path_factory.mktemp("journal"))
    return method("float32").compress(case.module, DATA(), context).members[0].claims


@pytest.fixture(scope="module")
def imported(cnn: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    """A network of which nothing is left but its ONNX file."""
    path = tmp_path_factory.mktemp("file") / "cnn.onnx"
    x = torch.tensor(DATA().load("test").inputs[:2])
    batch = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(copy.deepcopy(cnn).eval(), (x,), str(path), dynamo=True, dynamic_shapes=batch, verbose=False)
    return network_of(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_came_as_a_file_is_as_good_as_any(name: str, imported: nn.Module, tmp_path: Path) -> None:
    compressed = method(name).compress(imported, DATA(), Context(5, DATA(), RECIPE, CLASSIFICATION, tmp_path))
    layers = set(weighted_layers(imported))
    assert layers - set(compressed.left_alone), "some of it is changed"
    x = torch.tensor(DATA().load("test").inputs[:5])
    for member in compressed.members:
        with torch.no_grad():
            assert member.reference(x).shape == (5, 10)
        torch.export.export(member.module, (x[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))


def test_the_folder_holds_the_methods_that_are_promised() -> None:
    assert {"float32", "int8_ptq", "magnitude_prune", "channel_prune"} <= set(NAMES)


def test_what_comes_out_shares_no_memory_with_the_argument(case: Case) -> None:
    ours = {p.data_ptr() for p in case.module.parameters()}
    assert not ours & {p.data_ptr() for m in case.compressed.members for p in m.module.parameters()}


def test_the_same_seed_gives_the_same_bits(case: Case) -> None:
    assert bits(case.compressed) == bits(case.again)
    assert case.compressed.log == case.again.log
    assert [m.claims for m in case.compressed.members] == [m.claims for m in case.again.members]


def test_members_answer_in_eval_mode_and_export_with_any_batch(case: Case) -> None:
    x = torch.tensor(DATA().load("test").inputs[:5])
    for member in case.compressed.members:
        assert not any(part.training for network in (member.module, member.reference) for part in network.modules())
        program = torch.export.export(member.module, (x[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
        with torch.no_grad():
            assert member.reference(x).shape == (5, 10)
            assert torch.allclose(program.module()(x), member.module(x), atol=1e-5)


def test_members_can_be_pickled(case: Case) -> None:
    x = torch.tensor(DATA().load("test").inputs[:5])
    member = case.compressed.members[0]
    with torch.no_grad():
        assert torch.equal(pickle.loads(pickle.dumps(member.module))(x), member.module(x))
        assert torch.equal(pickle.loads(pickle.dumps(member.reference))(x), member.reference(x))


def test_claims_are_within_what_the_dense_network_claims(case: Case, dense: Claims) -> None:
    claims = case.compressed.members[0].claims
    assert 0 < claims.nonzero_macs <= claims.macs <= dense.macs
    assert 0 < claims.nonzero_params <= claims.params <= dense.params
    assert claims.weight_bytes <= dense.weight_bytes
    assert all(type(getattr(claims, field.name)) in (int, float, dict) for field in dataclasses.fields(Claims))
    assert all(count > 0 for found in (claims.formats, claims.stored_bits, claims.scales) for count in found.values())
    assert claims.stored_bits.keys() | claims.scales.keys() <= dict(case.compressed.members[0].module.named_parameters()).keys()
    assert (claims == dense) == (type(case.method).__name__ == "Float32")


def test_log_is_json_and_shows_the_validation_accuracy(case: Case) -> None:
    log = case.compressed.log
    assert json.loads(json.dumps(log)) == list(log)
    assert [0.0 <= event["top1"] <= 1.0 for event in log if event["event"] == "validation"]


def test_left_alone_names_layers_and_reasons(case: Case) -> None:
    compressed = case.compressed
    names = {name for name, _ in case.module.named_modules()}
    assert set(compressed.left_alone) <= names
    assert all(reason for reason in compressed.left_alone.values())
    assert compressed.numeric == case.method.numeric
    assert (compressed.quantization is None) == (compressed.calibration is None) == (compressed.numeric == "float32")


def test_layers_keep_their_names(case: Case) -> None:
    """Or, where a layer was taken apart, its parts are named behind it."""
    found, known = weighted_layers(case.compressed.members[0].module), set(weighted_layers(case.module))
    assert {name if name in known else name.rpartition(".")[0] for name in found} == known


class KilledError(Exception):
    pass


@pytest.mark.parametrize("name", [name for name in NAMES if "fine_tune_epochs" in method(name).__dataclass_fields__])  # type: ignore[attr-defined]
def test_a_killed_compression_goes_on_where_it_was_and_ends_with_the_same_bits(name: str, cnn: nn.Module, tmp_path: Path) -> None:
    chosen = dataclasses.replace(method(name), fine_tune_epochs=2)  # type: ignore[type-var]

    def compress(journal: str, kill_at: int | None = None) -> tuple[Compressed, list[float]]:
        shares: list[float] = []

        def on_progress(what: str, share: float) -> None:
            if what == "train":
                shares.append(share)
            if len(shares) == kill_at:
                raise KilledError

        context = Context(5, DATA(), RECIPE, CLASSIFICATION, tmp_path / journal, on_progress)
        return chosen.compress(cnn, DATA(), context), shares

    whole, shares = compress("one")
    with pytest.raises(KilledError):
        compress("other", kill_at=2)  # the first epoch is done
    resumed, rest = compress("other")
    assert bits(resumed) == bits(whole)
    assert resumed.log == whole.log
    assert len(rest) < len(shares)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_validated_from_json(name: str) -> None:
    found = importlib.import_module(f"harness.compression.{name}").METHOD
    assert TypeAdapter(found).validate_json(json.dumps(required(found)), strict=True) == found(**required(found))
