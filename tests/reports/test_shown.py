from __future__ import annotations

from collections.abc import Callable

import pytest

from reports.findings import Findings, examine
from reports.shown import Shown
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]


@pytest.fixture
def findings(make_record: MakeRecord, make_run: MakeRun) -> Findings:
    methods = ("float32", "p(a=2, b=1)", "p(a=10, b=1)", "q(c=3)", "q(c=1)")
    records = [make_record(method, backend) for backend in ("ort", "lite") for method in methods]
    return examine(make_run(records), records)


def test_cells_are_chosen_by_label(findings: Findings) -> None:
    shown = Shown.of(findings, {"backend": ("lite",), "method": ("float32", "q(c=1)")})
    assert [(place.method, place.backend) for place in shown.records] == [("float32", "lite"), ("q(c=1)", "lite")]
    assert shown.swept == "c"
    assert len(Shown.of(findings, {}).records) == 10
    assert not Shown.of(findings, {"backend": ()}).records


def test_a_method_has_a_family_and_a_strength_that_are_ordered_by_size(findings: Findings) -> None:
    shown = Shown.of(findings, {"backend": ("ort",)})
    assert [(labels["family"], labels["strength"]) for labels in shown.labels.values()] == [
        ("float32", ""), ("p(b=1)", "2"), ("p(b=1)", "10"), ("q", "3"), ("q", "1"),
    ]  # fmt: skip
    assert list(shown.rank["strength"]) == ["", "1", "2", "3", "10"]
    assert list(shown.rank["family"]) == ["float32", "p(b=1)", "q"]
    assert shown.swept == "a, c"


def test_a_number_over_a_column_says_what_it_counts(findings: Findings) -> None:
    shown = Shown.of(findings, {})
    assert shown.heads("threads", "4") == ("threads 4",)
    assert shown.heads("strength", "0.5") == ("a, c", "0.5")
    assert shown.heads("strength", "") == ("",)
    assert shown.heads("backend", "ort") == ("ort",)


def test_what_varies_comes_before_the_last_row_axis(findings: Findings) -> None:
    shown = Shown.of(findings, {})
    assert shown.completed(("model", "method"), ()) == ("model", "backend", "method")
    assert shown.completed(("model", "method"), ("backend",)) == ("model", "method")
    assert shown.completed(("family",), ("backend",)) == ("strength", "family")
