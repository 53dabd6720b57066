from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from harness.compression import Compressed
from harness.compression.numerics.layers import weighted_layers
from harness.compression.obc_mixed import METHOD
from harness.context import Context
from harness.data.digits import DATA
from harness.errors import UserError
from harness.latency_table import LatencyTable, Layer, LeftOut, Network, Timing, write_table
from harness.train import evaluate

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("compiler_cache")]
NewContext = Callable[..., Context]
FEW: dict[str, Any] = {"calibration_samples": 128, "search_examples": 64}


def chosen(compressed: Compressed) -> Mapping[str, Any]:
    (event,) = (event for event in compressed.log if event["event"] == "budget")
    return event


def lost(compressed: Compressed) -> float:
    """Sum of the layers' errors, by hand: what `choose: error` makes least."""
    errors: dict[str, dict[str, float]] = compressed.log[0]["errors"]
    return sum(errors[name][option] for name, option in chosen(compressed)["options"].items())


@pytest.mark.parametrize("choose", ["error", "loss", "spdy", "random", "uniform"])
def test_the_budget_is_kept_and_every_way_to_choose_prunes(
    cnn: nn.Module, new_context: NewContext, choose: Literal["error", "loss", "spdy", "random", "uniform"]
) -> None:
    method = METHOD(budget=0.4, choose=choose, sparsities=(0.5, 0.7, 0.9), trials=8, **FEW)
    (member,) = (compressed := method.compress(cnn, DATA(), new_context())).members
    found = chosen(compressed)
    assert member.claims.nonzero_macs == found["reached"] <= found["limit"] == 0.4 * member.claims.macs
    assert found["dense"] == member.claims.macs
    if choose == "uniform":
        assert len(set(found["options"].values())) == 1


@pytest.mark.parametrize("resource", ["bops", "bytes"])
def test_bits_and_sparsity_are_chosen_together(
    cnn: nn.Module, new_context: NewContext, resource: Literal["bops", "bytes"]
) -> None:
    method = METHOD(budget=0.12, resource=resource, sparsities=(0.5,), bits=(2, 4, 8), **FEW)
    compressed = method.compress(cnn, DATA(), new_context())
    found = chosen(compressed)
    assert found["reached"] <= found["limit"]
    assert any("bit" in option for option in found["options"].values())
    assert evaluate(compressed.members[0].module, DATA().load("test"))["top1"] > 0.9


def test_what_each_layer_gets_errs_less_than_all_layers_alike_within_the_same_budget(
    cnn: nn.Module, new_context: NewContext
) -> None:
    mixed, uniform = (METHOD(budget=0.3, choose=c, **FEW).compress(cnn, DATA(), new_context()) for c in ("error", "uniform"))
    assert lost(mixed) < lost(uniform)
    assert len(set(chosen(mixed)["options"].values())) > 1


def test_a_layer_that_the_regularity_does_not_fit_may_still_take_fewer_bits(cnn: nn.Module, new_context: NewContext) -> None:
    method = METHOD(budget=0.2, resource="bytes", regularities=("2:4",), bits=(4,), **FEW)
    options = chosen(method.compress(cnn, DATA(), new_context()))["options"]
    assert options["conv1"] in ("dense", "dense, 4 bit")  # one input channel
    left = METHOD(budget=0.9, regularities=("2:4",), **FEW).compress(cnn, DATA(), new_context()).left_alone
    assert "no multiple of 4" in left["conv1"]


def test_each_layer_gets_the_regularity_that_costs_it_least(cnn: nn.Module, new_context: NewContext) -> None:
    """Single weights always err less than blocks of as many; 2:4 has its own strength beside them."""
    both = METHOD(budget=0.4, regularities=("block-punched 4x1", "unstructured", "2:4"), sparsities=(0.7,), **FEW)
    compressed = both.compress(cnn, DATA(), new_context())
    database = compressed.log[0]["errors"]
    assert set(database["conv3"]) == {"dense", "unstructured 0.7", "block-punched 4x1 0.7", "2:4 0.5"}
    assert all(
        options["unstructured 0.7"] < options["block-punched 4x1 0.7"] for options in database.values() if len(options) > 2
    )
    assert not any("4x1" in option for option in chosen(compressed)["options"].values())


def test_what_surgery_removed_stays_away_while_the_rest_is_trained(cnn: nn.Module, new_context: NewContext) -> None:
    given = {"budget": 0.3, "sparsities": (0.7, 0.9), **FEW}
    untrained = METHOD(**given).compress(cnn, DATA(), new_context()).members[0]
    (member,) = (compressed := METHOD(fine_tune_epochs=1, **given).compress(cnn, DATA(), new_context())).members
    assert member.claims == untrained.claims
    (weight, before) = (network.module.get_parameter("conv3.weight") for network in (member, untrained))
    assert torch.equal(weight == 0, before == 0) and not torch.equal(weight, before)
    stages = {event["stage"]: event["loss"] for event in compressed.log if event["event"] == "validation"}
    assert stages["final"] < stages["compressed"]


def test_training_goes_with_no_grid() -> None:
    with pytest.raises(ValueError, match="off the grids of `bits`"):
        METHOD(budget=0.3, resource="bytes", bits=(4,), fine_tune_epochs=1)


def test_a_budget_that_nothing_keeps_is_a_user_error(cnn: nn.Module, new_context: NewContext) -> None:
    with pytest.raises(UserError, match="no choice keeps the budget"):
        METHOD(budget=0.05, sparsities=(0.5,), **FEW).compress(cnn, DATA(), new_context())


def table_of(network: nn.Module, *sparsities: float, left_out: tuple[LeftOut, ...] = ()) -> LatencyTable:
    """Of a device where only pruning `conv3` saves anything."""
    layers = {
        name: Layer(
            tuple(layer.weight.shape),
            tuple(
                Timing(
                    "unstructured" if s else "dense",
                    s,
                    1 - round(s * layer.weight.numel()) / layer.weight.numel(),
                    (2.0 - s if name == "conv3" else 1.0,),
                )
                for s in (0.0, *sparsities)
            ),
        )
        for name, layer in weighted_layers(network).items()
    }
    whole = Network("dense", 0.0, (1.0 + 5.0,), (1.0,), ())
    return LatencyTable("cnn", "digits", "b", "t", 1, "measured", "m", {}, {}, 0, layers, (whole,), left_out)


def test_a_measured_latency_is_a_budget(cnn: nn.Module, new_context: NewContext, tmp_path: Path) -> None:
    write_table(table_of(cnn, 0.5, 0.9), tmp_path / "table.json")
    method = METHOD(budget=0.87, resource="latency", table=str(tmp_path / "table.json"), sparsities=(0.5, 0.9), **FEW)
    found = chosen(method.compress(cnn, DATA(), new_context()))
    assert (found["unit"], found["table"]) == ("s", {"origin": "measured", "target": "t", "backend": "b", "threads": 1})
    assert {name for name, option in found["options"].items() if option != "dense"} == {"conv3"}
    assert found["reached"] == pytest.approx(5.1, abs=0.02) and found["reached"] <= found["limit"] == pytest.approx(0.87 * 6)


def test_what_could_not_be_measured_is_not_chosen_and_what_was_not_is_refused(
    cnn: nn.Module, new_context: NewContext, tmp_path: Path
) -> None:
    table = tmp_path / "table.json"
    method = METHOD(budget=0.93, resource="latency", table=str(table), sparsities=(0.5, 0.9), **FEW)
    write_table(table_of(cnn, 0.5), table)
    with pytest.raises(UserError, match=r"measure a sparsity of 0\.90"):
        method.compress(cnn, DATA(), new_context())
    write_table(table_of(cnn, 0.5, left_out=(LeftOut("unstructured", 0.9, "failed: it did not answer"),)), table)
    context = new_context()
    found = chosen(method.compress(cnn, DATA(), context))
    assert found["options"]["conv3"] == "unstructured 0.5"
    (untimed,) = [event for event in context.events if event["event"] == "untimed"]
    assert untimed["options"]["conv3"] == ["unstructured 0.9"] and untimed["reasons"][0]["reason"] == "failed: it did not answer"


def test_a_table_of_another_network_is_refused_before_anything_is_solved(
    cnn: nn.Module, resnet: nn.Module, new_context: NewContext, new_table: Callable[[nn.Module], LatencyTable], tmp_path: Path
) -> None:
    write_table(new_table(resnet), tmp_path / "table.json")
    method = METHOD(budget=0.5, resource="latency", table=str(tmp_path / "table.json"), sparsities=(0.6,), **FEW)
    context = new_context()
    with pytest.raises(UserError, match="not on this network"):
        method.compress(cnn, DATA(), context)
    assert not context.journal.exists() and not context.events


def test_no_option_for_all_layers_alike_is_a_user_error_and_no_mixture(cnn: nn.Module, new_context: NewContext) -> None:
    """The stem's one input channel takes no 2:4: with 2:4 and 2 bits for all that take it, its weights stay float32 and are too many."""
    given = {"budget": 0.073, "resource": "bytes", "regularities": ("2:4",), "bits": (2, 8), **FEW}
    assert chosen(METHOD(choose="error", **given).compress(cnn, DATA(), new_context()))["options"]["conv1"] == "dense, 2 bit"
    with pytest.raises(UserError, match="all layers take alike"):
        METHOD(choose="uniform", **given).compress(cnn, DATA(), new_context())


def test_a_search_that_was_killed_goes_on_from_its_journal(cnn: nn.Module, new_context: NewContext) -> None:
    method = METHOD(budget=0.4, choose="random", sparsities=(0.5, 0.9), trials=6, **FEW)
    context = new_context()
    first = method.compress(cnn, DATA(), context)
    assert any(context.journal.iterdir())
    again = method.compress(cnn, DATA(), Context(0, DATA(), context.recipe, context.criterion, context.journal))
    assert chosen(first) == chosen(again)
    assert first.log == again.log


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ('{"resource": "latency"}', "go together"),
        ('{"table": "x.json"}', "go together"),
        ('{"resource": "latency", "table": "x.json", "bits": [4]}', "change no latency"),
        ('{"sparsities": []}', "nothing to choose from"),
        ('{"budget": 1.0}', "less than 1"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(document: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(METHOD).validate_json(json.dumps({"budget": 0.5} | json.loads(document)), strict=True)
