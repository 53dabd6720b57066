"""What every model promises, tried on every model file there is, as small as it can be made."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

import harness.models
from harness.compression.numerics.counting import claims
from harness.compression.numerics.fold import fold_batchnorm
from harness.data import DataSpec
from harness.models import Model, not_images, not_texts
from harness.train import Recipe

pytestmark = pytest.mark.torch

GREY = DataSpec((1, 8, 8), 10, "8x8")
COLOUR = DataSpec((3, 32, 32), 10, "32x32")
TEXT = DataSpec((12,), 7, "texts", "int64", 40)
CASES: dict[str, tuple[dict[str, Any], DataSpec]] = {
    "ds_cnn": ({"filters": 4}, DataSpec((1, 49, 10), 12, "MFCC")),
    "efficientnet_lite0": ({"weights": ""}, COLOUR),
    "fc_autoencoder": ({"width": 8, "code": 2}, DataSpec((20,), 2, "windows")),
    "minilm_l6": ({}, DataSpec((12,), 7, "texts", "int64", 30_522)),
    "mlp": ({"hidden": (8,)}, GREY),
    "mobilenet_v1": ({"width": 0.1}, DataSpec((3, 17, 20), 2, "photographs")),
    "mobilenet_v2": ({"width": 0.1}, COLOUR),
    "resnet18": ({"width": 4}, COLOUR),
    "resnet20": ({"width": 4}, COLOUR),
    "resnet50": ({"width": 2}, DataSpec((3, 64, 64), 10, "64x64")),
    "resnet56": ({"width": 2}, COLOUR),
    "resnet8": ({"width": 4}, GREY),
    "small_cnn": ({"width": 4}, GREY),
    "text_transformer": ({"width": 8, "heads": 2}, TEXT),
    "vgg16": ({"width": 2}, COLOUR),
}
"""Parameters that make it small, and data that it takes."""


def test_every_model_is_tried() -> None:
    """But those that are files, which build nothing: tests/harness/test_own_file.py."""
    names = {module.name for module in pkgutil.iter_modules(harness.models.__path__) if not module.ispkg}
    assert names == set(CASES) | {"onnx_file", "tflite_file"}


def model_class(name: str) -> type[Any]:
    found: type[Any] = importlib.import_module(f"harness.models.{name}").MODEL
    return found


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Model, DataSpec]:
    params, spec = CASES[request.param]
    return model_class(request.param)(**params), spec


def examples(spec: DataSpec, count: int = 3) -> torch.Tensor:
    rng = np.random.default_rng(0)
    values: npt.NDArray[Any] = rng.standard_normal((count, *spec.input_shape)).astype(np.float32)
    if spec.vocabulary is not None:
        values = rng.integers(1, spec.vocabulary, (count, *spec.input_shape))
        values[:, spec.input_shape[0] // 2 :] = 0
    return torch.from_numpy(values)


def test_network_takes_the_data_and_answers_as_its_criterion_wants(case: tuple[Model, DataSpec]) -> None:
    model, spec = case
    assert model.accepts(spec) is None
    x = examples(spec)
    answers = model.build(spec).eval()(x)
    assert answers.shape == (x.shape if model.criterion.outputs == "reconstruction" else (len(x), spec.classes))
    assert torch.isfinite(answers).all()


def test_network_is_initialised_from_the_global_generator(case: tuple[Model, DataSpec]) -> None:
    model, spec = case
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append([p.detach() for p in model.build(spec).parameters()])
    assert all(torch.equal(one, same) for one, same in zip(networks[0], networks[1], strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(networks[0], networks[2], strict=True))


def test_network_exports_with_any_batch_and_its_macs_can_be_counted(case: tuple[Model, DataSpec]) -> None:
    model, spec = case
    network = model.build(spec).eval()
    x = examples(spec, 5)
    exported = torch.export.export(network, (x[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert torch.allclose(exported.module()(x), network(x), atol=1e-4)
    assert claims(network, x[:1].numpy()).macs > 0


def test_network_is_the_same_with_its_batchnorms_folded(case: tuple[Model, DataSpec]) -> None:
    model, spec = case
    network = model.build(spec)
    x = examples(spec, 8)
    with torch.no_grad():
        network(x)  # statistics that are not the identity's
        network.eval()
        assert torch.allclose(fold_batchnorm(network)(x), network(x), atol=1e-4, rtol=1e-4)


def test_recipe_follows_the_parameters(case: tuple[Model, DataSpec]) -> None:
    model, _ = case
    assert isinstance(model.recipe(), Recipe)
    for name, value in (("epochs", 7), ("augment", "shift")):
        if name in type(model).__dataclass_fields__:  # type: ignore[attr-defined]
            changed: Model = dataclasses.replace(model, **{name: value})  # type: ignore[type-var]
            assert getattr(changed.recipe(), name) == value


@pytest.mark.parametrize("name", CASES)
def test_parameters_out_of_range_are_refused(name: str) -> None:
    found = model_class(name)
    adapter = TypeAdapter(found)
    assert adapter.validate_json('{"data": "digits", "weights": ""}', strict=True) == found(data="digits", weights="")
    wrong = {"epochs": -1, "augment": "mirror", "weights": 3, "width": 0, "layers": 0, "filters": 0, "head": "none"}
    for field in {f.name for f in dataclasses.fields(found)} & set(wrong):
        with pytest.raises(ValidationError):
            adapter.validate_json(json.dumps({field: wrong[field]}), strict=True)


@pytest.mark.parametrize("spec", [TEXT, DataSpec((64,), 10, "vectors"), DataSpec((3, 1, 8), 10, "a line")], ids=lambda s: s.title)
def test_data_that_a_model_refuses_is_named(spec: DataSpec, case: tuple[Model, DataSpec]) -> None:
    model, own = case
    reason = model.accepts(spec)
    if reason is None:  # what is taken can be computed
        assert model.build(spec).eval()(examples(spec)).shape[0] == 3
    else:
        assert spec != own
        assert str(list(spec.input_shape)) in reason


def test_images_and_texts_are_told_apart() -> None:
    assert not_images("x", COLOUR, 32) is None
    assert not_images("x", COLOUR, 33) == "x takes images [channels, height, width] of 33x33 and more, not arrays [3, 32, 32]"
    assert "not tokens [12]" in str(not_images("x", TEXT, 1))
    assert not_texts("x", TEXT) is None
    assert "not float32 [3, 32, 32]" in str(not_texts("x", COLOUR))
    assert not_texts("x", dataclasses.replace(TEXT, vocabulary=None)) is not None
