from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from reports.findings import Findings, examine
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
    assert table.levels == ((("ort", 2), ("lite", 2)),)
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
        (*row.labels, *column.labels): entry.value
        for row in table.rows
        for column, entry in zip(table.columns, row.entries, strict=True)
    }
    assert seen == pytest.approx(truth)


def test_what_varies_but_was_not_asked_for_becomes_a_row_label(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(threads=t, latency=[t * 1e-3]) for t in (1, 4)]
    table = paper_table(SPEC, examine(make_run(records), records))
    assert table.axes == ("model", "threads", "method")
    assert [row.labels for row in table.rows] == [("cnn", "1", "float32"), ("cnn", "4", "float32")]


def test_a_table_without_a_column_axis_has_one_header_line(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(), make_record("int8")]
    table = paper_table({**SPEC, "columns": []}, examine(make_run(records), records))
    assert table.levels == () and len(table.columns) == 2
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


@pytest.fixture
def swept(make_record: MakeRecord, make_run: MakeRun) -> Findings:
    """`slim` is 1 + strength times as fast as `prune`, which is as fast as float32."""
    records = [make_record(latency=[1e-3, 1.003e-3, 0.999e-3], hits=[1.0] * 50)]
    for family, gain in (("slim", 1.0), ("prune", 0.0)):
        for strength in (0.5, 0.25):
            launches = [1e-3 / (1 + gain * strength) * k for k in (1.0, 1.004, 0.997)]
            records.append(make_record(f"{family}(ratio={strength}, epochs=4)", latency=launches, hits=[1.0] * 50))
    return examine(make_run(records), records)


def test_strengths_are_columns_and_what_has_none_spans_them(swept: Findings) -> None:
    spec = {"name": "s", "rows": ["model", "family"], "columns": ["metric", "strength"], "metrics": ["latency", "speedup"]}
    table = paper_table(spec, swept)
    assert table.axes == ("model", "family") and table.column_axes == ("strength",)
    assert table.levels == ((("latency (ms)", 2), ("speed-up (×)", 2)), (("ratio", 2), ("ratio", 2)))
    assert [column.heads[-1] for column in table.columns] == ["0.25", "0.5"] * 2
    assert [row.labels[1] for row in table.rows] == ["float32", "slim(epochs=4)", "prune(epochs=4)"]
    assert [(entry.metric, entry.span) for entry in table.rows[0].entries] == [("latency", 2), ("speedup", 2)]
    speedups = [entry.value for entry in _entries(table, "cnn", "slim(epochs=4)")[2:]]
    assert speedups == pytest.approx([1.25, 1.5], rel=0.01)
    bold = {(row.labels[1], n) for row in table.rows for n, entry in enumerate(row.entries) if entry.best}
    assert bold == {("slim(epochs=4)", n) for n in range(4)}, "the one that spans all strengths is no rival"
    lines = csv_text(table).splitlines()
    assert lines[0].startswith("model,family,strength,metric,") and len(lines) == 1 + 3 * 4


def test_an_axis_of_a_family_that_varies_is_not_lost(swept: Findings) -> None:
    for rows, axes in ((["family"], ("strength", "family")), (["strength"], ("family", "strength"))):
        table = paper_table({**SPEC, "rows": rows, "columns": []}, swept)
        assert table.axes == axes and len(table.rows) == 5


def test_two_column_axes_make_a_header_of_three_lines(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(backend=b, target=t, batch=n) for t in ("pi", "local") for b in ("ort", "lite") for n in (1, 8)]
    spec = {**SPEC, "columns": ["target", "batch", "backend"], "metrics": ["latency"]}
    table = paper_table(spec, examine(make_run(records), records))
    assert table.levels == (
        (("pi", 4), ("local", 4)),
        (("batch 1", 2), ("batch 8", 2)) * 2,
        (("ort", 1), ("lite", 1)) * 4,
    )
    assert [column.labels for column in table.columns][:3] == [("pi", "1", "ort"), ("pi", "1", "lite"), ("pi", "8", "ort")]


def test_only_what_is_asked_for_is_shown_and_counts_for_what_varies(smoke_records: list[Record], make_run: MakeRun) -> None:
    only = {"backend": ["lite"], "method": ["float32", "int8"]}
    table = paper_table(
        {**SPEC, "rows": ["method"], "columns": [], "only": only}, examine(make_run(smoke_records), smoke_records)
    )
    assert [row.labels for row in table.rows] == [
        ("cnn", "float32"), ("cnn", "int8"), ("resnet(width=16)", "float32"), ("resnet(width=16)", "int8"),
    ]  # fmt: skip


def test_rows_of_a_group_are_sorted_best_first_and_those_without_a_number_last(
    smoke_records: list[Record], make_run: MakeRun
) -> None:
    findings = examine(make_run(smoke_records), smoke_records)
    by_size = paper_table({**SPEC, "columns": [], "only": {"backend": ["ort"]}, "sort": "quality"}, findings)
    assert [row.labels for row in by_size.rows] == [
        ("cnn", "int8"), ("cnn", "float32"), ("cnn", "prune(sparsity=0.75)"), ("cnn", "slim"),
        ("resnet(width=16)", "float32"), ("resnet(width=16)", "prune(sparsity=0.75)"), ("resnet(width=16)", "slim"),
        ("resnet(width=16)", "int8"),
    ]  # fmt: skip
    fastest = paper_table({**SPEC, "columns": [], "only": {"backend": ["lite"]}, "sort": "latency"}, findings)
    assert fastest.rows[0].labels == ("cnn", "int8")


def test_intervals_print_as_asked(smoke_records: list[Record], make_run: MakeRun) -> None:
    findings = examine(make_run(smoke_records), smoke_records)
    printed = {
        style: _entries(paper_table({**SPEC, "interval": style}, findings), "cnn", "int8")[0].printed
        for style in ("below", "half", "none")
    }
    assert printed["below"] == Printed("0.5000", "0.4957", "0.5044")
    assert printed["half"] == Printed("0.5000", half="0.0043")
    assert printed["none"] == Printed("0.5000")


def test_precision_is_of_one_metric(smoke_records: list[Record], make_run: MakeRun) -> None:
    table = paper_table({**SPEC, "precision": {"latency": 1}}, examine(make_run(smoke_records), smoke_records))
    latency, speedup, *_ = _entries(table, "cnn", "int8")
    assert latency.printed == Printed("0.5", "0.5", "0.5") and speedup.printed.value == "2.000"


def test_bold_follows_the_rule(smoke_records: list[Record], make_run: MakeRun) -> None:
    """`always` adds the best where int8 does not run on `ort`: a method that is 0.03 % ahead of float32, which is no lead."""
    findings = examine(make_run(smoke_records), smoke_records)
    bold = {}
    for rule in ("none", "significant", "always"):
        table = paper_table({**SPEC, "bold": rule, "metrics": ["latency"]}, findings)
        bold[rule] = {(*row.labels, n) for row in table.rows for n, entry in enumerate(row.entries) if entry.best}
    assert bold["none"] == set()
    assert bold["significant"] == {("cnn", "int8", 0), ("cnn", "int8", 1), ("resnet(width=16)", "int8", 1)}
    assert bold["always"] - bold["significant"] == {("resnet(width=16)", "prune(sparsity=0.75)", 0)}


def test_unstable_cells_share_a_note_with_all_their_reasons(make_record: MakeRecord, make_run: MakeRun) -> None:
    flags = {"float32": ("throttled",), "int8": ("clock_step", "throttled"), "prune": ()}
    records = [make_record(method, flags=given) for method, given in flags.items()]
    table = paper_table({**SPEC, "metrics": ["latency", "speedup"]}, examine(make_run(records), records))
    notes = dict(table.notes)
    assert notes["a"] == "unstable, for one or more of these: throttled; clock_step"
    assert [entry.marks for row in table.rows for entry in row.entries][:4:2] == [("a",), ("a",)]
    assert "its baseline is unstable" in [notes[mark] for mark in _entries(table, "cnn", "prune")[1].marks]


def test_among_says_who_the_rivals_are(smoke_records: list[Record], make_run: MakeRun) -> None:
    spec = {**SPEC, "rows": ["backend", "method"], "columns": [], "only": {"model": ["cnn"]}, "metrics": ["latency"]}
    findings = examine(make_run(smoke_records), smoke_records)
    methods = paper_table(spec, findings)
    assert [row.labels for row in methods.rows for entry in row.entries if entry.best] == [("ort", "int8"), ("lite", "int8")]
    backends = paper_table({**spec, "among": "backend"}, findings)
    assert [row.labels for row in backends.rows for entry in row.entries if entry.best] == [("lite", "int8")]
