from __future__ import annotations

from collections.abc import Callable

import pytest

from reports.folder import ReportError
from reports.matrix import Place, arrange, place_of
from results.record import Axes, Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]


def test_labels_keep_the_order_of_the_document(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(m, b) for b in ("torch", "lite", "ort") for m in ("zeta", "float32", "alpha")]
    run = make_run(records, methods=["float32", "zeta", "alpha"], backends=["ort", "lite", "torch"])
    matrix = arrange(run, records)
    assert matrix.labels["method"] == ("float32", "zeta", "alpha")
    assert matrix.labels["backend"] == ("ort", "lite", "torch")
    assert [(p.method, p.backend) for p in matrix.records][:4] == [
        ("float32", "ort"), ("float32", "lite"), ("float32", "torch"), ("zeta", "ort"),
    ]  # fmt: skip


def test_labels_without_a_record_are_left_out_and_unknown_ones_come_last(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record("stranger"), make_record("float32")]
    matrix = arrange(make_run(records, methods=["float32", "never_run"]), records)
    assert matrix.labels["method"] == ("float32", "stranger")


def test_a_retry_replaces_the_earlier_record_of_its_place(make_record: MakeRecord, make_run: MakeRun) -> None:
    first, second = make_record(status="unreachable", record_id="aa"), make_record(record_id="bb")
    matrix = arrange(make_run([first]), [first, second])
    assert [record.id for record in matrix.records.values()] == ["bb"]


def test_baseline_replaces_its_axes_alone(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record("int8", "lite", threads=4), make_record("float32", "ort", threads=4)]
    matrix = arrange(make_run(records, baseline={"method": "float32", "backend": "ort"}), records)
    place = place_of(records[0].axes)
    assert matrix.baseline(place) == Place("cnn", "float32", "ort", "local", "4", "1")
    assert matrix.baseline(place) == place_of(records[1].axes)
    assert arrange(make_run(records, baseline={}), records).baseline(place) is None


def test_a_layer_is_a_workload_of_its_own() -> None:
    assert place_of(Axes("net", "m", "b", "t", layer="conv1")).model == "net/conv1"
    assert place_of(Axes("net/conv1", "m", "b", "t", layer="conv1")).model == "net/conv1"


def test_an_operating_point_reads_as_words() -> None:
    tuned = place_of(Axes("n", "m", "b", "t", 4, 1, None, "0-3,6", "performance", 1_500_000_000))
    assert tuned[4:] == ("4", "1", "CPUs 0-3,6", "performance", "1.5 GHz") and tuned.point == ("threads 4", *tuned[6:])
    plain = place_of(Axes("n", "m", "b", "t"))
    assert plain[6:] == ("any CPU", "governor as it was", "clock as it was") and plain.point == ()
    assert place_of(Axes("n", "m", "b", "t", cpus="2")).point == ("CPU 2",)
    assert place_of(Axes("n", "m", "b", "t", governor="\x1b[31m")).governor == r"\x1b[31m"


def test_points_of_the_document_and_the_baseline_have_the_labels_of_the_records(
    make_record: MakeRecord, make_run: MakeRun
) -> None:
    points: list[dict[str, object]] = [{"governor": "performance", "frequency_hz": hz} for hz in (2_000_000_000, 900_000_000)]
    records = [make_record(point=point) for point in reversed(points)] + [make_record()]
    document = [
        {"threads": 1, "batch": 1, "cpus": None, "governor": None, "frequency_hz": None} | point for point in ({}, *points)
    ]
    run = make_run(records, baseline={"governor": "", "frequency_hz": None}, operating_points=document)
    matrix = arrange(run, records)
    assert matrix.labels["frequency_hz"] == ("clock as it was", "2 GHz", "0.9 GHz")
    assert matrix.baseline(place_of(records[0].axes)) == place_of(records[2].axes)
    assert matrix.varying() == ("governor", "frequency_hz")


def test_varying_axes_are_those_a_reader_must_be_told(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(backend=b, threads=t) for b in ("ort", "lite") for t in (1, 4)]
    matrix = arrange(make_run(records), records)
    assert matrix.varying() == ("backend", "threads")
    assert matrix.varying(besides=("backend",)) == ("threads",)


def test_labels_print_and_no_two_cells_become_one(make_record: MakeRecord, make_run: MakeRun) -> None:
    hidden, shown = make_record("m\x1b"), make_record(r"m\x1b")
    assert place_of(hidden.axes).method == r"m\x1b"
    assert list(arrange(make_run([hidden]), [hidden]).labels["method"]) == [r"m\x1b"]
    with pytest.raises(ReportError, match="would print as one"):
        arrange(make_run([hidden, shown]), [hidden, shown])
