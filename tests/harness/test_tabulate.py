"""Tables made of records: what is taken from them, what is refused, and one measured on this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import BuildError, UserError
from harness.executor import Executor
from harness.latency_table import DENSE, LeftOut, read_table, write_table
from harness.plugins import Choice
from harness.suite import Sampling
from harness.tabulate import Column, columns, table_of, tabulate
from results.record import Axes, Measurement, Record, Samples
from results.store import open_store
from targets.target import Target

PRUNED = Choice("scheme_map", (("sparsity", 0.75), ("scheme", "1x16")))
WANTED = (Column(DENSE, 0.0, Choice("float32")), Column("1x16", 0.75, PRUNED))
LAYERS = {"conv": (16, 16, 3, 3), "fc": (10, 16)}
FACTS = {"model": "net", "data": "digits", "backend": "native", "target": "local", "threads": 1}


def record(name: str, latency_s: float, conv: Mapping[str, Any], **changes: Any) -> Record:
    latency = Measurement("latency", "s", "measured", "made up", Samples.of([latency_s]))
    operators = [
        {"name": "pad", "layer": None, "time_s": 1e-6, "sparsity": None},
        {"name": "conv", "layer": "conv", **conv},
        {"name": "fc", "layer": "fc", "time_s": 2e-6, "sparsity": 0.0},
    ]
    made = Record(
        name, "run", "cell", "input", "machine", Axes("net", name, "native", "local"), "ok", None, None, "t0", "t1",
        measurements=(latency,), provenance={"who": {"python": "3"}, "profile": {"operators": operators}},
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def rounds() -> list[list[Record]]:
    return [
        [
            record(f"dense {n}", 1e-4 + n * 1e-6, {"time_s": 9e-5, "sparsity": None}),
            record(f"pruned {n}", 4e-5, {"time_s": 3e-5 + n * 1e-6, "sparsity": 0.7}),
        ]
        for n in range(3)
    ]


def test_a_table_holds_what_each_round_says_of_each_layer() -> None:
    table = table_of(WANTED, rounds(), LAYERS, FACTS, sampling={"min_s": 1}, seed=4)
    dense, pruned = table.layers["conv"].timings
    assert (dense.scheme, dense.density, dense.samples_s) == (DENSE, 1.0, (9e-5, 9e-5, 9e-5))
    assert (pruned.scheme, pruned.sparsity, pruned.samples_s) == ("1x16", 0.75, (3e-5, 3.1e-5, 3.2e-5))
    assert pruned.density == pytest.approx(0.3), "what is really there, and not what was asked for"
    assert table.layers["fc"].schemes() == (DENSE,), "what a scheme left alone is in the table once"
    assert table.networks[0].latency_s == pytest.approx((1e-4, 1.01e-4, 1.02e-4))
    assert table.networks[1].rest_s == (1e-6, 1e-6, 1e-6)
    assert table.networks[1].records == ("pruned 0", "pruned 1", "pruned 2")
    assert (table.machine_key, table.origin, table.seed, table.software) == ("machine", "measured", 4, {"python": "3"})


def test_a_network_that_failed_in_a_round_is_left_out_with_its_reason(tmp_path: Path) -> None:
    other = Column("1x16", 0.9, Choice("scheme_map", (("sparsity", 0.9), ("scheme", "1x16"))))
    found = [[*records, record(f"other {n}", 3e-5, {"time_s": 2e-5, "sparsity": 0.9})] for n, records in enumerate(rounds())]
    found[1][2] = dataclasses.replace(found[1][2], status="failed", reason="its export is off")
    table = table_of((*WANTED, other), found, LAYERS, FACTS, sampling={}, seed=0)
    without = table_of(WANTED, rounds(), LAYERS, FACTS, sampling={}, seed=0)
    assert dataclasses.replace(table, left_out=()) == without
    write_table(table, tmp_path / "t.json")
    assert read_table(tmp_path / "t.json").left_out == (LeftOut("1x16", 0.9, "failed: its export is off"),)
    with pytest.raises(UserError, match=r"measure a sparsity of 0\.95 too; 0\.9 could not be: failed: its export is off"):
        table.time_s("conv", "1x16", 0.05)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"status": "failed", "reason": "no memory"}, r"could not be measured \(failed: no memory\)"),
        ({"provenance": {"logs": {"profile": "no clock"}}}, "measured without a profile: no clock"),
        ({"machine_key": "other"}, "the machine was another"),
    ],
)
def test_what_was_not_measured_is_not_tabulated(changes: dict[str, Any], says: str) -> None:
    found = rounds()
    found[1][1] = dataclasses.replace(found[1][1], **changes)
    with pytest.raises(BuildError, match=says):
        table_of(WANTED, found, LAYERS, FACTS, sampling={}, seed=0)


def test_a_target_without_a_clock_gives_no_table() -> None:
    found = rounds()
    silent = Measurement("latency", "s", "emulated", "made up", None, "an emulator has no time")
    found[0][0] = dataclasses.replace(found[0][0], measurements=(silent,))
    with pytest.raises(BuildError, match="target local cannot tell time: an emulator has no time"):
        table_of(WANTED, found, LAYERS, FACTS, sampling={}, seed=0)


@pytest.mark.torch
def test_each_scheme_has_the_strengths_that_it_can_have() -> None:
    pruner = Choice("scheme_map", (("sparsity", 0.5), ("trials", 3)))
    found = columns(pruner, ["pattern", "2:4", "1x16", "2:4"], [0.5, 0.75])
    assert [(column.scheme, column.sparsity) for column in found] == [
        (DENSE, 0.0), ("pattern", 0.75), ("2:4", 0.5), ("1x16", 0.5), ("1x16", 0.75),
    ]  # fmt: skip
    assert found[1].method.label == "scheme_map(sparsity=0.75, scheme=pattern, trials=3)"
    with pytest.raises(UserError, match="`pattern` alone removes"):
        columns(pruner, ["pattern"], [0.3])
    with pytest.raises(UserError, match="unknown parameter `scheme`"):
        columns(Choice("float32"), ["1x16"], [0.5])


class Nobody:
    """Watches nothing."""

    def begins(self, cells: object) -> None: ...
    def phase(self, place: str, text: str) -> None: ...
    def step(self, step: object, event: str) -> None: ...
    def launched(self, cell: object, launch: int) -> None: ...
    def ended(self, cell: object, record: object) -> None: ...


def measured(tmp_path: Path, backend: str) -> Any:
    pruner = Choice("scheme_map", (("fine_tune_epochs", 0), ("sparsity", 0.5), ("search_examples", 10)))
    with open_store(str(tmp_path / "store.db")) as store, Executor(1) as executor:
        table = tabulate(
            Choice("small_cnn", (("epochs", 0),)), Target("local"), Choice(backend), columns(pruner, ["block-punched 16x1"], [0.75]),
            rounds=2, threads=1, sampling=Sampling(min_s=0.01, warmup_s=0.01, evaluation_size=10), seed=0, store=store,
            executor=executor, observer=Nobody(),
        )  # fmt: skip
        return table, [record for run in store.runs() for _, record in store.run_records(run.id)]


@pytest.mark.nightly  # docs/latency-tables.md runs the command in CI
@pytest.mark.toolchain
@pytest.mark.torch
@pytest.mark.usefixtures("compiler_cache")
def test_a_table_is_measured_on_this_machine(tmp_path: Path) -> None:
    table, records = measured(tmp_path, "native")
    assert {record.id for record in records} == {record for network in table.networks for record in network.records}
    assert len(records) == 4 and {record.status for record in records} == {"ok"}
    schemes = {name: layer.schemes() for name, layer in table.layers.items()}
    assert schemes == {
        "conv1": (DENSE, "block-punched 16x1"), "conv2": (DENSE, "block-punched 16x1"), "conv3": (DENSE, "block-punched 16x1"),
        "classifier": (DENSE,),
    }  # fmt: skip
    for layer in table.layers.values():
        assert all(len(timing.samples_s) == 2 and min(timing.samples_s) > 0 for timing in layer.timings)
    pruned = table.layers["conv3"].timings[1]
    assert pruned.density == pytest.approx(0.25) and np.isfinite(table.latency_s({"conv3": (pruned.scheme, 0.25)}))


def test_a_backend_that_does_not_profile_is_refused(tmp_path: Path, null_backend: None) -> None:
    with pytest.raises(UserError, match="nothing gives no time of its layers"):
        measured(tmp_path, "nothing")
