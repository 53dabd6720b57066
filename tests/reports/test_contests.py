from __future__ import annotations

from collections.abc import Callable

from reports.contests import contests, is_part, network_of
from reports.findings import Findings, examine
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
FAST = [5e-4, 5.02e-4, 4.99e-4]


def _examined(records: list[Record], make_run: MakeRun) -> Findings:
    return examine(make_run(records), records)


def test_a_contest_is_what_competes_and_leaves_out_the_baseline(smoke_records: list[Record], make_run: MakeRun) -> None:
    found = contests(_examined(smoke_records, make_run))
    assert [(c.place.model, c.place.backend) for c in found] == [
        ("cnn", "ort"), ("cnn", "lite"), ("resnet(width=16)", "ort"), ("resnet(width=16)", "lite"),
    ]  # fmt: skip
    assert all([r.axes.method for r in c.records] == ["int8", "prune(sparsity=0.75)", "slim"] for c in found)
    assert [c.fastest and c.fastest.axes.method for c in found] == ["int8", "int8", None, "int8"]


def test_the_fastest_is_not_the_one_that_keeps_quality(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [
        make_record(hits=[1.0] * 100, latency=[1e-3, 1.002e-3, 0.998e-3]),
        make_record("rough", hits=[1.0] * 50 + [0.0] * 50, latency=[1e-4, 1.003e-4, 0.999e-4]),
        make_record("gentle", hits=[1.0] * 100, latency=FAST),
        make_record("slower", hits=[1.0] * 100, latency=[2e-3, 2.01e-3, 1.99e-3]),
    ]
    (found,) = contests(_examined(records, make_run))
    assert found.fastest is not None and found.keeping is not None
    assert (found.fastest.axes.method, found.keeping.axes.method) == ("rough", "gentle")
    (only_rough,) = contests(_examined(records[:2], make_run))
    assert only_rough.fastest is not None and only_rough.keeping is None


def test_layers_are_no_contests_beside_their_network_but_are_by_themselves(make_record: MakeRecord, make_run: MakeRun) -> None:
    layers = [make_record(layer="conv1"), make_record("int8", layer="conv1", latency=FAST)]
    whole = [make_record(), make_record("int8", latency=FAST)]
    findings = _examined([*whole, *layers], make_run)
    assert [c.place.model for c in contests(findings)] == ["cnn"]
    assert [is_part(findings, r) for r in findings.matrix.records.values()] == [False, False, True, True]
    assert {network_of(r) for r in (*whole, *layers)} == {"cnn"}
    assert [c.place.model for c in contests(_examined(layers, make_run))] == ["cnn/conv1"]
