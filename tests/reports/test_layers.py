from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reports.findings import examine
from reports.layers import MAX_SHOWN, Layers, layers_of_run, profiled
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
PROFILE: dict[str, Any] = {
    "operators": [
        {
            "name": "conv1",
            "op": "Conv",
            "layer": "stem",
            "time_s": 3e-3,
            "macs": 1e6,
            "bytes": 1e3,
            "format": "int8",
            "sparsity": 0.5,
        },
        {"name": "fc", "op": "Gemm", "time_s": 1e-3, "macs": 1e3, "bytes": 2e5},
        {"name": "reshape", "time_s": None},
    ],
    "roofline": {"peak_flops": 2e9, "bandwidth_bytes_per_s": 4e8},
}


def _by_name(layers: Layers) -> dict[str, Any]:
    return {row.name: row for row in layers.rows}


def test_operators_stand_against_the_floor(make_record: MakeRecord) -> None:
    layers = profiled(make_record(provenance={"profile": PROFILE}))
    assert isinstance(layers, Layers)
    conv, fc, reshape = layers.rows
    assert (conv.name, conv.op, conv.time, conv.share, conv.format, conv.sparsity) == (
        "stem",
        "Conv",
        "3 ms",
        "75.0 %",
        "int8",
        "50.0 %",
    )
    assert (conv.bar, conv.floor_bar, conv.floor) == (100.0, 33.3, "33.3 %"), "2 · 1e6 / 2e9 s of 3 ms"
    assert (fc.bar, fc.floor_bar, fc.floor) == (33.3, 16.7, "50.0 %"), "2e5 / 4e8 s of 1 ms, memory being slower"
    assert (reshape.time, reshape.share, reshape.bar, reshape.floor) == ("–", "", 0.0, "")
    assert "together 4 ms" in layers.source


def test_a_time_below_the_floor_shows_more_than_all_of_it(make_record: MakeRecord) -> None:
    """A peak that was measured too low is told, not hidden; the bar alone is held inside its cell."""
    operators = [{"name": "a", "time_s": 1e-3, "macs": 2e6}]
    layers = profiled(make_record(provenance={"profile": {"operators": operators, "roofline": {"peak_flops": 2e9}}}))
    assert isinstance(layers, Layers)
    assert (layers.rows[0].floor, layers.rows[0].floor_bar) == ("200.0 %", 100.0)


def test_without_a_roofline_there_is_no_floor(make_record: MakeRecord) -> None:
    layers = profiled(make_record(provenance={"profile": {**PROFILE, "roofline": None}}))
    assert isinstance(layers, Layers) and all(row.floor == "" and row.floor_bar == 0.0 for row in layers.rows)


def test_a_profile_that_cannot_be_read_says_why(make_record: MakeRecord) -> None:
    bad = {"operators": [{"name": "a", "time_s": -1}]}
    assert profiled(make_record(provenance={"profile": bad})) == (
        "The profile that was kept cannot be read: operator `a`: time_s is -1, no number from 0 up."
    )
    assert profiled(make_record(provenance={"profile": {"operators": []}})) == "The profile that was kept lists no operator."
    assert profiled(make_record()) is None


@pytest.fixture
def parts(make_record: MakeRecord) -> list[Record]:
    """A network and two of its layers, int8 alone."""
    return [
        make_record("int8", model="cnn", latency=[4e-3] * 3),
        make_record("int8", model="cnn", layer="conv1", latency=[3e-3] * 3, macs=2_000_000, weight_bytes=100),
        make_record("int8", model="cnn", layer="fc", latency=[1e-3] * 3, macs=None),
    ]


def test_layers_measured_alone_are_gathered_by_network(parts: list[Record], make_run: MakeRun) -> None:
    ((layers,), more) = layers_of_run(examine(make_run(parts), parts))
    assert (layers.place.model, layers.record_id, more) == ("cnn", parts[0].id, 0)
    rows = _by_name(layers)
    assert rows["conv1"].record_id == parts[1].id
    assert rows["conv1"].time.startswith("3.00000 ms [")
    assert (rows["conv1"].share, rows["conv1"].macs, rows["conv1"].format) == ("75.0 %", "2 M", "32 bit")
    assert (rows["fc"].bar, rows["fc"].macs, rows["fc"].sparsity) == (33.3, "", "")
    assert "measured by itself; together 4.00 ms" in layers.source


def test_the_networks_own_roofline_serves_its_layers(make_record: MakeRecord, parts: list[Record], make_run: MakeRun) -> None:
    network = make_record("int8", model="cnn", latency=[4e-3] * 3, provenance={"profile": PROFILE})
    records = [network, *parts[1:]]
    ((layers,), _) = layers_of_run(examine(make_run(records), records))
    rows = _by_name(layers)
    assert rows["conv1"].floor == "66.7 %", "2 · 2e6 / 2e9 s of 3 ms"
    assert "measured by itself" in layers.source, "what was measured goes before what a profiler says"


def test_profiles_are_shown_where_no_layer_was_measured(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(f"m{k}", provenance={"profile": PROFILE}) for k in range(MAX_SHOWN + 2)]
    found, more = layers_of_run(examine(make_run(records), records))
    assert [layers.place.method for layers in found] == [f"m{k}" for k in range(MAX_SHOWN)] and more == 2


def test_cells_that_are_not_ok_have_no_layers(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [
        make_record("int8", layer="conv1", status="wrong", reason="why"),
        make_record("int8", status="failed", reason="why", provenance={"profile": PROFILE}),
    ]
    assert layers_of_run(examine(make_run(records), records)) == ((), 0)


def test_a_simulated_layer_is_marked_and_a_missing_roofline_explained(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record("int8", layer="conv1", origin="simulated"), make_record("int8", layer="fc")]
    ((layers,), _) = layers_of_run(examine(make_run(records), records))
    assert [row.not_measured for row in layers.rows] == ["simulated", None]
    explained = profiled(
        make_record(provenance={"profile": {**PROFILE, "roofline": None, "remark": "no roofline: no C compiler"}})
    )
    assert isinstance(explained, Layers) and explained.source.endswith("4 ms. No roofline: no C compiler.")
