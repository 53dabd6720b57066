from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from harness.data import DataSpec
from harness.data.digits import DATA
from harness.models.small_cnn import MODEL
from harness.train import Recipe, evaluate, train

pytestmark = pytest.mark.torch

DIGITS = DATA().spec
FASHION = DataSpec((1, 28, 28), 10, "28x28")


@pytest.mark.parametrize("spec", [DIGITS, FASHION, DataSpec((3, 32, 32), 100, "32x32")])
def test_network_takes_the_data_and_answers_one_logit_a_class(spec: DataSpec) -> None:
    assert MODEL().accepts(spec) is None
    network = MODEL().build(spec).eval()
    assert network(torch.zeros(2, *spec.input_shape)).shape == (2, spec.classes)


def test_network_is_initialised_from_the_global_generator() -> None:
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append(torch.cat([p.flatten() for p in MODEL().build(DIGITS).parameters()]))
    assert torch.equal(networks[0], networks[1])
    assert not torch.equal(networks[0], networks[2])


def test_network_exports_with_any_batch() -> None:
    network = MODEL().build(DIGITS).eval()
    exported = torch.export.export(network, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    x = torch.rand(5, 1, 8, 8)
    assert torch.allclose(exported.module()(x), network(x), atol=1e-5)


def test_recipe_follows_the_parameters() -> None:
    assert MODEL(epochs=7).recipe().epochs == 7
    assert MODEL(augment="shift").recipe().augment == "shift"
    assert isinstance(MODEL().recipe(), Recipe)


@pytest.mark.parametrize("document", ['{"epochs": -1}', '{"augment": "mirror"}', '{"weights": 3}', '{"epochs": "3"}'])
def test_parameters_out_of_range_are_refused(document: str) -> None:
    adapter = TypeAdapter(MODEL)
    assert adapter.validate_json('{"epochs": 3}', strict=True) == MODEL(epochs=3)
    with pytest.raises(ValidationError):
        adapter.validate_json(document, strict=True)


def test_what_is_no_image_is_refused() -> None:
    assert "not [64]" in str(MODEL().accepts(DataSpec((64,), 10, "")))


def test_width_scales_every_convolution() -> None:
    assert [p.shape[0] for p in MODEL(width=5).build(DIGITS).parameters() if p.dim() == 4] == [5, 10, 10]


def test_defaults_reach_97_percent_of_the_digits() -> None:
    torch.manual_seed(0)
    network = MODEL().build(DIGITS)
    train(network, DATA(), MODEL().recipe(), seed=0)
    assert evaluate(network, DATA().load("test"))["top1"] > 0.97
