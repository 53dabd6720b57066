from __future__ import annotations

from collections.abc import Callable

import pytest

from reports.contests import contests
from reports.findings import examine
from reports.heat import Square, heat, winners
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]


def test_every_cell_is_a_square_at_its_place(smoke_records: list[Record], make_run: MakeRun) -> None:
    found = heat(examine(make_run(smoke_records), smoke_records))
    assert [head.label for head in found.heads[0]] == ["ort", "lite"]
    assert [block.model for block in found.blocks] == ["cnn", "resnet(width=16)"]
    rows = {(block.model, row.label): row.squares for block in found.blocks for row in block.rows}
    assert [square.shade for square in rows["cnn", "float32"]] == ["baseline", "baseline"]
    assert [square.shade for square in rows["cnn", "prune(sparsity=0.75)"]] == ["even", "even"]
    assert [square.shade for square in rows["cnn", "slim"]] == ["slower1", "wrong"]
    assert rows["resnet(width=16)", "int8"][0] == Square(
        "unsupported", "unsupported", rows["resnet(width=16)", "int8"][0].record_id
    )
    simulated = rows["resnet(width=16)", "slim"][1]
    assert (simulated.text, simulated.not_measured) == ("no ratio", "simulated")
    ids = [square.record_id for squares in rows.values() for square in squares]
    assert sorted(map(str, ids)) == sorted(record.id for record in smoke_records)


@pytest.mark.parametrize(
    ("factor", "shade"),
    [(1.1, "faster0"), (1.5, "faster1"), (3.0, "faster2"), (8.0, "faster3"), (0.9, "slower0"), (0.66, "slower1"), (0.3, "slower2"), (0.1, "slower3")],
)  # fmt: skip
def test_the_colour_deepens_with_the_factor(factor: float, shade: str, make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [
        make_record(latency=[1e-3, 1.002e-3, 0.998e-3]),
        make_record("x", latency=[1e-3 / factor, 1.001e-3 / factor, 0.9985e-3 / factor]),
    ]
    (block,) = heat(examine(make_run(records), records)).blocks
    assert block.rows[1].squares[0].shade == shade


def test_further_axes_that_vary_get_a_line_of_heads(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(backend=b, threads=t) for b in ("ort", "lite") for t in (1, 4) if (b, t) != ("lite", 1)]
    found = heat(examine(make_run(records), records))
    assert [[(head.label, head.columns) for head in line] for line in found.heads] == [
        [("ort", 2), ("lite", 1)],
        [("threads 1", 1), ("threads 4", 1), ("threads 4", 1)],
    ]


def test_a_place_without_a_cell_is_left_blank(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(), make_record("x"), make_record(backend="lite")]
    (block,) = heat(examine(make_run(records), records)).blocks
    assert block.rows[1].squares[1] == Square("", "absent")


def test_winners_are_one_square_a_context_with_the_method_named(smoke_records: list[Record], make_run: MakeRun) -> None:
    findings = examine(make_run(smoke_records), smoke_records)
    (block,) = winners(findings, contests(findings)).blocks
    assert [row.label for row in block.rows] == ["cnn", "resnet(width=16)"]
    (a, b), (c, d) = (row.squares for row in block.rows)
    assert [square.method for square in (a, b, d)] == ["int8"] * 3
    assert all(square.shade in ("faster1", "faster2", "faster3") for square in (a, b, d))
    assert c == Square("none is faster", "even")
    assert {square.record_id for square in (a, b, d)} <= {record.id for record in smoke_records}


def test_only_what_is_asked_for_is_shown(smoke_records: list[Record], make_run: MakeRun) -> None:
    found = heat(examine(make_run(smoke_records), smoke_records), lambda place: place.model == "cnn" and place.backend == "ort")
    assert [block.model for block in found.blocks] == ["cnn"] and found.columns == (("ort",),)


def test_a_column_says_when_nothing_in_it_is_measured(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(m, b, origin=o) for b, o in (("ort", "measured"), ("sim", "simulated")) for m in ("float32", "x")]
    records.append(make_record("y", "sim", status="failed", reason="no"))
    findings = examine(make_run(records), records)
    assert heat(findings).origins == (None, "simulated")
    fastest = winners(findings, contests(findings))
    assert fastest.origins == (None, "simulated")
    assert [(square.text, square.not_measured) for square in fastest.blocks[0].rows[0].squares] == [
        ("none is faster", None),
        ("none is faster", "simulated"),
    ]


def test_what_a_backend_cannot_run_at_all_has_no_winner(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(m, b, status="unsupported", reason="no") for m in ("float32", "x") for b in ("ort",)]
    records += [make_record(backend="lite"), make_record("x", "lite")]
    findings = examine(make_run(records), records)
    (block,) = winners(findings, contests(findings)).blocks
    assert [square.shade for square in block.rows[0].squares] == ["unsupported", "even"]
