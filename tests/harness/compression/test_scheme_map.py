"""Scheme mapping on small networks, by a made-up table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness import plugins
from harness.compression import Compressed
from harness.compression.numerics.layers import weighted_layers
from harness.compression.scheme_map import SchemeMapping
from harness.context import Context
from harness.data.digits import DATA
from harness.errors import UserError
from harness.latency_table import LatencyTable, write_table

pytestmark = pytest.mark.torch

NewContext = Callable[..., Context]
QUICK: dict[str, Any] = {"fine_tune_epochs": 0, "search_examples": 100, "calibration_samples": 100, "trials": 8}


@pytest.fixture
def table_file(resnet: nn.Module, new_table: Callable[[nn.Module], LatencyTable], tmp_path: Path) -> str:
    write_table(new_table(resnet), tmp_path / "table.json")
    return str(tmp_path / "table.json")


def events(compressed: Compressed, name: str) -> list[dict[str, Any]]:
    return [event for event in compressed.log if event["event"] == name]


def test_a_uniform_map_prunes_every_layer_that_takes_it(resnet: nn.Module, new_context: NewContext) -> None:
    found = SchemeMapping(sparsity=0.6, scheme="block-punched 8x1", **QUICK).compress(resnet, DATA(), new_context())
    (member,) = found.members
    for name, layer in weighted_layers(member.module).items():
        share = float((layer.weight == 0).double().mean())
        assert (share > 0.4) == (name not in found.left_alone), name
    assert found.left_alone and all("do not fill a block" in reason for reason in found.left_alone.values())


@pytest.mark.parametrize("by", ["random", "reinforce", "allocation"])
def test_a_search_keeps_its_limit_and_is_no_worse_than_the_rules(
    by: Any, resnet: nn.Module, table_file: str, new_context: NewContext
) -> None:
    compressed = SchemeMapping(sparsity=0.6, map=by, table=table_file, latency=0.7, **QUICK).compress(
        resnet, DATA(), new_context()
    )
    (chosen,), trials, (ended,) = events(compressed, "map"), events(compressed, "trial"), events(compressed, "search")
    assert len(trials) == QUICK["trials"]
    assert chosen["most_s"] <= chosen["limit_s"] * (1 + 1e-9) and chosen["limit_s"] == pytest.approx(0.7 * chosen["dense_s"])
    assert ended["top1"] == max(trial["top1"] for trial in trials) >= trials[0]["top1"]
    (rules,) = events(
        SchemeMapping(sparsity=0.6, map="rule", table=table_file, latency=0.7, **QUICK).compress(resnet, DATA(), new_context()),
        "map",
    )
    assert rules["most_s"] == pytest.approx(trials[0]["most_s"]), "the first that is tried is the rules' map"


def test_without_a_limit_a_search_may_take_what_the_rules_take(
    resnet: nn.Module, table_file: str, new_context: NewContext
) -> None:
    by_rules = SchemeMapping(sparsity=0.8, map="rule", table=table_file, **QUICK).compress(resnet, DATA(), new_context())
    by_search = SchemeMapping(sparsity=0.8, map="random", table=table_file, **QUICK).compress(resnet, DATA(), new_context())
    assert events(by_rules, "map")[0]["table"] == {"origin": "measured", "target": "local", "backend": "native", "threads": 1}
    assert events(by_search, "map")[0]["limit_s"] == events(by_rules, "map")[0]["most_s"]
    assert events(by_rules, "map")[0]["limit_s"] is None and not events(by_rules, "trial")


def test_the_network_is_pruned_as_the_map_says_and_stays_so(resnet: nn.Module, table_file: str, new_context: NewContext) -> None:
    quick = QUICK | {"fine_tune_epochs": 1, "fine_tune_examples": 200}
    found = SchemeMapping(sparsity=0.8, map="rule", table=table_file, skip=("conv",), **quick).compress(
        resnet, DATA(), new_context()
    )
    (chosen,), (masks,) = events(found, "map"), events(found, "masks")
    layers = weighted_layers(found.members[0].module)
    assert set(chosen["layers"]) == set(masks["density"]) and "conv" not in chosen["layers"]
    assert found.left_alone["conv"] == "named in `skip`"
    for name, density in masks["density"].items():
        assert float((layers[name].weight != 0).double().mean()) <= density < 0.5
    assert not torch.equal(layers["conv"].weight, weighted_layers(resnet)["conv"].weight), "it was fine-tuned"


def test_the_same_seed_gives_the_same_map(resnet: nn.Module, table_file: str, new_context: NewContext) -> None:
    method = SchemeMapping(sparsity=0.6, map="reinforce", table=table_file, latency=0.7, **QUICK)
    first, second, other = (method.compress(resnet, DATA(), new_context(seed)).log for seed in (3, 3, 4))
    assert first == second != other


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"map": "rule"}, "method `scheme_map`: `map: rule` needs a latency table"),
        ({"scheme": "1y16"}, "method `scheme_map`: unknown regularity `1y16`"),
        ({"scheme": "pattern"}, "alone removes 0.5556"),
        ({"latency": 0.5}, "`latency` limits what the rules or a search may take"),
        ({"map": "search"}, "map"),
        ({"latency": 1.5}, "latency"),
        ({"trials": 0}, "trials"),
    ],
)
def test_parameters_that_cannot_be_are_refused(parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as error:
        plugins.resolve("methods", "scheme_map", {"sparsity": 0.5, **parameters})
    assert says in str(error.value)


def test_what_does_not_fit_the_network_is_refused(
    resnet: nn.Module, cnn: nn.Module, table_file: str, new_context: NewContext
) -> None:
    with pytest.raises(UserError, match="was measured on network, not on this network"):
        SchemeMapping(sparsity=0.6, map="rule", table=table_file, **QUICK).compress(cnn, DATA(), new_context())
    with pytest.raises(UserError, match=r"`skip` names `covn`.*Did you mean `conv`"):
        SchemeMapping(sparsity=0.6, skip=("covn",), **QUICK).compress(resnet, DATA(), new_context())
    with pytest.raises(UserError, match="no map by the rules is within"):
        SchemeMapping(sparsity=0.6, map="rule", table=table_file, latency=0.01, **QUICK).compress(resnet, DATA(), new_context())
