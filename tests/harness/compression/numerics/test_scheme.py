from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from harness.compression.numerics.regularity import BlockPunched, Filter, OneByN
from harness.compression.numerics.scheme import Scheme, assign, parse_map, parse_scheme, scheme_masks
from harness.data import DataSpec
from harness.errors import UserError

pytestmark = pytest.mark.torch

SPEC = DataSpec((3, 8, 8), 10, "noise")


@pytest.fixture
def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3, groups=16), nn.Conv2d(16, 24, 1), nn.Flatten(), nn.Linear(24 * 16, 10)
    )


@pytest.mark.parametrize("text", ["1x16@0.5", "block-punched 8x4@0.75", "pattern@0.9", "2:4@0.5"])
def test_schemes_are_read_and_printed(text: str) -> None:
    assert str(parse_scheme(text)) == text


def test_dense_is_no_scheme() -> None:
    assert parse_scheme(" dense ") is None


@pytest.mark.parametrize(
    "text", ["1x16", "1x16@", "1x16@half", "1x16@0", "1x16@1", "1x16@-0.5", "1y6@0.5", "2:4@0.6", "", "dense@0.5", "1x4@nan"]
)
def test_what_is_no_scheme_is_a_user_error(text: str) -> None:
    with pytest.raises(UserError):
        parse_scheme(text)


@pytest.mark.parametrize("entries", [("conv1=1x4@0.5",), ("conv1",), ("a: 1x4@0.5", "a: dense"), ("a: 1x4",)])
def test_a_map_names_each_layer_once_with_its_scheme(entries: tuple[str, ...]) -> None:
    with pytest.raises(UserError):
        parse_map(entries)
    assert parse_map(["layer1.0: 2:4@0.5", "b: dense"]) == {"layer1.0": parse_scheme("2:4@0.5"), "b": None}


def test_labels_are_read_without_torch() -> None:
    """A plan needs them, and no torch."""
    code = "import sys, harness.compression.numerics.scheme as s; s.parse_scheme('1x16@0.5'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_the_uniform_scheme_leaves_the_ends_and_what_it_does_not_suit(network: nn.Module) -> None:
    schemes, left = assign(network, SPEC, Scheme(OneByN(4), 0.5), {})
    assert schemes == {"2": Scheme(OneByN(4), 0.5)}
    assert set(left) == {"0", "1", "4"}
    assert (left["0"], left["4"]) == ("the stem", "the classifier")
    assert "16 groups" in left["1"]


def test_named_layers_have_their_own_the_ends_too(network: nn.Module) -> None:
    named = {"0": Scheme(BlockPunched(8, 1), 0.25), "4": Scheme(OneByN(2), 0.5), "2": None}
    schemes, left = assign(network, SPEC, Scheme(OneByN(4), 0.5), named)
    assert schemes == {"0": named["0"], "4": named["4"]}
    assert left["2"] == "dense by its scheme"


def test_without_a_uniform_scheme_only_named_layers_are_pruned(network: nn.Module) -> None:
    schemes, left = assign(network, SPEC, None, {"2": Scheme(Filter(), 0.5)})
    assert set(schemes) == {"2"}
    assert set(left) == {"0", "1", "4"}


def test_a_layer_that_is_not_there_is_a_user_error_with_the_nearest(network: nn.Module) -> None:
    named = nn.Sequential()
    named.add_module("conv1", network[0])  # type: ignore[index]
    with pytest.raises(UserError, match=r"`conv_1` is no layer.*Did you mean `conv1`"):
        assign(named, SPEC, None, {"conv_1": None})


def test_local_masks_are_each_regularitys_own(network: nn.Module) -> None:
    schemes = {"0": Scheme(Filter(), 0.5), "2": Scheme(OneByN(8), 0.75)}
    masks = scheme_masks(network, schemes)
    for name, scheme in schemes.items():
        weight = network.get_parameter(f"{name}.weight")
        assert torch.equal(masks[name], scheme.regularity.mask(weight, scheme.sparsity))
    assert scheme_masks(network, {}) == {}


def test_global_takes_the_smallest_units_wherever_they_are() -> None:
    network = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(4, 6, 1))
    with torch.no_grad():
        network[0].weight.fill_(0.5)  # type: ignore[operator]
        network[1].weight.copy_(torch.linspace(0.1, 1.0, 6)[:, None, None, None].expand(6, 4, 1, 1))  # type: ignore[operator]
    masks = scheme_masks(network, dict.fromkeys(("0", "1"), Scheme(OneByN(2), 0.25)), "global")
    units = 16 + 12
    removed = int((~masks["0"]).sum()) / 18 + int((~masks["1"]).sum()) / 2
    assert removed == round(0.25 * units)
    assert int((~masks["1"]).sum()) == 2 * 4  # the pair of filters below 0.5, at all four channels
    assert not bool(masks["1"][:2].any())
