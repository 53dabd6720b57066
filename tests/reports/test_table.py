from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from reports.findings import examine
from reports.latex import latex
from reports.rounding import Printed
from reports.table import NOT_DISTINGUISHABLE, Entry, Table, by_method, letter, paper_table, shortened
from reports.text import csv_text, markdown
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
SPEC = {"name": "main", "caption": "c", "rows": ["model", "method"], "columns": "backend", "metrics": ["latency", "speedup"]}


def _entries(table: Table, *labels: str) -> tuple[Entry, ...]:
    return next(row.entries for row in table.rows if row.labels == labels)


def test_rows_and_columns_follow_the_suite(smoke_records: list[Record], make_run: MakeRun) -> None:
    run = make_run(smoke_records)
    table = paper_table(SPEC, examine(run, smoke_records[::-1]))
    assert [row.labels[1] for row in table.rows[:4]] == ["float32", "int8", "prune(sparsity=0.75)", "slim"]
    assert [row.labels[0] for row in table.rows[::4]] == ["cnn", "resnet(width=16)"]
    assert table.groups == (("ort", 2), ("lite", 2))
    assert [column.metric for column in table.columns] == ["latency", "speedup", "latency", "speedup"]


def test_every_number_stands_under_its_own_label(make_record: MakeRecord, make_run: MakeRun) -> None:
    """Each cell's latency encodes its place, so a swapped row or column could not hide."""
    models, methods, backends = ("m1", "m2"), ("float32", "b", "a"), ("z", "y")
    truth = {
        (m, k, b): 1e-3 * (1 + 100 * i + 10 * j + n)
        for i, m in enumerate(models) for j, k in enumerate(methods) for n, b in enumerate(backends)
    }  # fmt: skip
    records = [make_record(k, b, m, latency=[value]) for (m, k, b), value in reversed(truth.items())]
    table = paper_table({**SPEC, "metrics": ["latency"]}, examine(make_run(records), records))
    seen = {
        (*row.labels, column.group): entry.value
        for row in table.rows
        for column, entry in zip(table.columns, row.entries, strict=True)
    }
    assert seen == pytest.approx(truth)


def test_what_varies_but_was_not_asked_for_becomes_a_row_label(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(threads=t, latency=[t * 1e-3]) for t in (1, 4)]
    table = paper_table(SPEC, examine(make_run(records), records))
    assert table.axes == ("model", "method", "threads")
    assert [row.labels for row in table.rows] == [("cnn", "float32", "1"), ("cnn", "float32", "4")]


def test_a_table_without_a_column_axis_has_one_unnamed_group(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(), make_record("int8")]
    table = paper_table({**SPEC, "columns": None}, examine(make_run(records), records))
    assert table.groups == (("", 2),)
    assert table.axes == ("model", "method")


def test_a_table_may_ask_for_nothing(smoke_records: list[Record], make_run: MakeRun) -> None:
    table = paper_table({**SPEC, "metrics": []}, examine(make_run(smoke_records), smoke_records))
    assert table.columns == () and all(row.entries == () for row in table.rows)
    for render in (latex, markdown, csv_text):
        assert render(table)


def test_one_prefix_a_metric_over_all_columns(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(backend="ort", latency=[20e-3]), make_record(backend="lite", latency=[900e-6])]
    table = paper_table({**SPEC, "metrics": ["latency"]}, examine(make_run(records), records))
    assert {column.unit for column in table.columns} == {"µs"}
    assert [entry.printed.value for entry in table.rows[0].entries] == ["20000", "900"]


def test_a_cell_that_is_not_ok_prints_its_status_once_and_its_reason_beneath(
    smoke_records: list[Record], make_run: MakeRun
) -> None:
    table = paper_table(SPEC, examine(make_run(smoke_records), smoke_records))
    *ort, wrong = _entries(table, "cnn", "slim")
    assert (wrong.printed, wrong.value, wrong.status, wrong.span) == (Printed("wrong"), None, "wrong", 2)
    reasons = dict(table.notes)
    assert reasons[wrong.marks[0]] == "wrong: SQNR 3 dB, at least 20 dB is asked see check"
    assert [entry.span for entry in ort] == [1, 1] and all(entry.value for entry in ort)


def test_no_cell_that_is_not_ok_has_a_number(smoke_records: list[Record], make_run: MakeRun) -> None:
    table = paper_table(
        {**SPEC, "metrics": ["latency", "macs", "artifact_size"]}, examine(make_run(smoke_records), smoke_records)
    )
    seen = [entry for row in table.rows for entry in row.entries if entry.status != "ok"]
    assert len(seen) == 2
    for entry in seen:
        assert entry.value is None and not any(c.isdigit() for c in entry.printed.value)


def test_a_null_metric_prints_a_dash_with_its_reason(smoke_records: list[Record], make_run: MakeRun) -> None:
    table = paper_table({**SPEC, "metrics": ["energy"]}, examine(make_run(smoke_records), smoke_records))
    entry = _entries(table, "cnn", "float32")[0]
    assert entry.printed == Printed("–")
    assert dict(table.notes)[entry.marks[0]] == "no energy: no meter is attached to `local`"


def test_the_baselines_ratio_is_exactly_one_and_never_bold(smoke_records: list[Record], make_run: MakeRun) -> None:
    table = paper_table(SPEC, examine(make_run(smoke_records), smoke_records))
    for model in ("cnn", "resnet(width=16)"):
        for entry in _entries(table, model, "float32")[1::2]:
            assert (entry.printed, entry.value, entry.best, entry.low) == (Printed("1"), 1.0, False, None)


def test_bold_only_what_leads_and_marks_only_what_does_not_differ(smoke_records: list[Record], make_run: MakeRun) -> None:
    table = paper_table(SPEC, examine(make_run(smoke_records), smoke_records))
    bold = {(row.labels, n) for row in table.rows for n, entry in enumerate(row.entries) if entry.best}
    assert bold == {(("cnn", "int8"), n) for n in range(4)} | {(("resnet(width=16)", "int8"), n) for n in (1, 2)}
    even = _entries(table, "cnn", "prune(sparsity=0.75)")[1]
    assert even.significant is False
    assert dict(table.notes)[even.marks[-1]] == NOT_DISTINGUISHABLE
    assert _entries(table, "cnn", "int8")[1].marks == ()


def test_origins_and_noise_are_marked_and_explained(smoke_records: list[Record], make_run: MakeRun) -> None:
    table = paper_table({**SPEC, "metrics": ["latency"]}, examine(make_run(smoke_records), smoke_records))
    entry = _entries(table, "resnet(width=16)", "slim")[1]
    texts = [dict(table.notes)[mark] for mark in entry.marks]
    assert entry.origin == "simulated"
    assert any(text.startswith("simulated:") for text in texts)
    assert any("throttled" in text for text in texts)


def test_a_place_without_a_cell_is_not_a_status(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(), make_record("int8"), make_record(backend="lite")]
    table = paper_table(SPEC, examine(make_run(records), records))
    absent = _entries(table, "cnn", "int8")[-1]
    assert (absent.printed, absent.status, absent.record_id) == (Printed("·"), None, None)
    assert dict(table.notes)[absent.marks[0]] == "no such cell in this run"


def test_one_note_serves_all_who_share_its_text(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(f"m{i}", status="failed", reason="no compiler") for i in range(30)]
    table = paper_table(SPEC, examine(make_run(records), records))
    assert [tuple(note) for note in table.notes] == [("a", "failed: no compiler")]


def test_by_method_sets_claims_beside_measurements(smoke_records: list[Record], make_run: MakeRun) -> None:
    table = by_method(examine(make_run(smoke_records), smoke_records), "cnn")
    assert table.axes == ("backend", "method")
    columns = [column.metric for column in table.columns]
    entries = _entries(table, "ort", "prune(sparsity=0.75)")
    assert entries[columns.index("claimed_speedup")].printed.value == "4"
    speedup = entries[columns.index("speedup")]
    assert speedup.value == pytest.approx(1.0, abs=0.02)
    assert {row.labels[0] for row in table.rows} == {"ort", "lite"}


def test_the_hash_is_over_the_records_and_not_their_order(smoke_records: list[Record], make_run: MakeRun) -> None:
    run = make_run(smoke_records)
    one, other = (paper_table(SPEC, examine(run, records)) for records in (smoke_records, smoke_records[::-1]))
    assert one == other
    hashes = "\n".join(sorted(record.sha256() for record in smoke_records))
    assert one.sha256 == hashlib.sha256(hashes.encode()).hexdigest()
    assert paper_table(SPEC, examine(run, smoke_records[1:])).sha256 != one.sha256


def test_letters_go_on_after_z() -> None:
    assert [letter(n) for n in (0, 25, 26, 51, 52, 701, 702)] == ["a", "z", "aa", "az", "ba", "zz", "aaa"]


def test_a_long_reason_is_cut_with_a_sign() -> None:
    assert shortened("a\n  b") == "a b"
    assert len(shortened("x" * 1000)) == 300 and shortened("x" * 1000).endswith("…")
