from __future__ import annotations

from collections.abc import Callable

from reports.findings import Findings, examine
from reports.sheets import Sheet, cut, cut_into_sheets, pages_of
from reports.table import by_method
from results.record import Measurement, Record, Run, Samples

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]


def _sheets(findings: Findings) -> tuple[Sheet, ...]:
    return cut_into_sheets(findings, [by_method(findings, model) for model in findings.matrix.labels["model"]])


def test_cut_puts_every_row_in_one_piece_in_order_and_drops_the_column(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(m, b, target=t) for m in ("float32", "x") for b in ("ort", "lite") for t in ("pi", "pc")]
    table = by_method(examine(make_run(records), records), "cnn")
    pieces = cut(table, "target")
    assert list(pieces) == ["pi", "pc"]
    assert {piece.axes for piece in pieces.values()} == {("backend", "method")}
    assert len({piece.name for piece in pieces.values()} | {table.name}) == 3
    at = table.axes.index("target")
    for target, piece in pieces.items():
        assert [row.entries for row in piece.rows] == [row.entries for row in table.rows if row.labels[at] == target]
    assert cut(pieces["pi"], "target") == {"": pieces["pi"]}


def test_a_sheet_is_one_workload_on_one_device_and_says_what_is_not_measured(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [
        make_record(m, target=t, origin=o) for m in ("float32", "x") for t, o in (("pc", "measured"), ("qemu", "emulated"))
    ]
    records.append(make_record(layer="conv1", target="pc"))
    found = _sheets(examine(make_run(records), records))
    assert [(s.model, s.target, s.origins, s.network, s.is_layer) for s in found] == [
        ("cnn", "pc", (), "cnn", False), ("cnn", "qemu", ("emulated",), "cnn", False), ("cnn/conv1", "pc", (), "cnn", True),
    ]  # fmt: skip
    assert {s.download for s in found} == {"model-1", "model-2"}


def test_a_single_device_is_named_all_the_same(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(target="pi4"), make_record("x", target="pi4")]
    (sheet,) = _sheets(examine(make_run(records), records))
    assert sheet.target == "pi4"


def test_pages_hold_every_sheet_once_by_model_and_once_by_device(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(m, model=n, target=t) for m in ("float32", "x") for n in ("a/b", "c") for t in ("pc", "pi")]
    sheets = _sheets(examine(make_run(records), records))
    assert pages_of(sheets, max_rows=8) == ()
    pages = pages_of(sheets, max_rows=7)
    assert [(page.label, page.file) for page in pages] == [
        ("a/b", "models/1.html"), ("c", "models/2.html"), ("pc", "devices/1.html"), ("pi", "devices/2.html"),
    ]  # fmt: skip
    for axis in ("model", "target"):
        assert sorted(s.table.name for page in pages if page.axis == axis for s in page.sheets) == sorted(
            s.table.name for s in sheets
        )


def test_instructions_stand_only_where_they_are_counted(make_record: MakeRecord, make_run: MakeRun) -> None:
    counts = Measurement("instructions", "1", "emulated", "counted", Samples.of([25_431.0] * 3), clock="instructions")
    records = [make_record(m, target="board", origin="emulated", more=(counts,)) for m in ("float32", "x")]
    records += [make_record(target="pc"), make_record("x", target="pc", status="unsupported", reason="no")]
    sheets = {sheet.target: sheet.table for sheet in _sheets(examine(make_run(records), records))}
    assert sheets["board"].columns[-1].heads == ("instructions",) and sheets["board"].columns[-1].unit == "k"
    assert [row.entries[-1].value for row in sheets["board"].rows] == [25_431.0] * 2
    assert "instructions" not in {column.metric for column in sheets["pc"].columns}
    for row in sheets["pc"].rows:
        assert sum(entry.span for entry in row.entries) == len(sheets["pc"].columns)
