from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from reports.compare import Diff, compare
from reports.diff_text import LISTED, diff_json, diff_text
from results.record import Measurement, Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]


def _later(record: Record) -> Record:
    return dataclasses.replace(record, id=record.id[::-1], input_hash="9" * 64)


@pytest.fixture
def diff(make_record: MakeRecord, make_run: MakeRun) -> Diff:
    """A bit of everything: slower, smaller, wrong, gone, come, on another machine, without energy."""
    right = [1.0] * 190 + [0.0] * 10
    steady = [1e-3, 1.001e-3, 0.999e-3]
    lost = Measurement("energy", "J", "measured", "m", None, reason="the meter fell off")
    had = Measurement("energy", "J", "measured", "m", make_record().measurements[0].samples)
    old = [
        make_record("slower", latency=steady, hits=right, provenance={"who": {"packages": {"ort": "1.30"}}}),
        make_record("smaller", size=40_000),
        make_record("broke"),
        make_record("gone"),
        make_record("moved", provenance={"device": {"facts": {"kernel": "6.1"}}}),
        make_record("meter", more=(had,)),
    ]
    new = [
        make_record("slower", latency=[1.05 * s for s in steady], hits=right, provenance={"who": {"packages": {"ort": "1.31"}}}),
        make_record("smaller", size=30_000),
        make_record("broke", status="wrong", reason="SQNR 3 dB,\nat least 20 dB is asked"),
        make_record("come"),
        dataclasses.replace(make_record("moved", provenance={"device": {"facts": {"kernel": "6.2"}}}), machine_key="77" * 32),
        make_record("meter", more=(lost,)),
    ]
    new = [_later(record) for record in new]
    before = dataclasses.replace(make_run(old), id="aaaaaaaa-1", started="2026-01-01T02:03:04Z")
    after = dataclasses.replace(make_run(new), id="bbbbbbbb-2", started="2026-01-02T02:03:04Z", finished=None)
    return compare(before, after, old, new)


def test_the_text_says_all_that_changed_and_nothing_more(diff: Diff, golden: Callable[[str, str], None]) -> None:
    golden("compare.txt", diff_text(diff) + "\n")


def test_two_equal_runs_are_two_lines(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record("a"), make_record("b")]
    same = [dataclasses.replace(record, id=record.id[::-1]) for record in records]
    text = diff_text(compare(make_run(records), make_run(same), records, same))
    assert text.splitlines()[1:] == ["nothing worse, nothing better; 4 of 4 numbers did not change (smallest change told: 2 %)"]


def test_long_lists_are_cut_with_their_number(make_record: MakeRecord, make_run: MakeRun) -> None:
    gone = [make_record(f"m{i}") for i in range(LISTED + 7)]
    assert "  and 7 more; --json has them all" in diff_text(compare(make_run(gone), make_run([]), gone, []))


def test_hostile_names_cannot_act_on_a_terminal(make_record: MakeRecord, make_run: MakeRun) -> None:
    bad = "x\x1b]0;title\x07\x1b[2J\u202e\r\nworse: nothing"
    old = [make_record(bad, bad, bad, target=bad, provenance={"who": {"packages": {bad: "1"}}}), make_record("s")]
    new = [make_record(bad, bad, bad, target=bad, status="failed", reason=bad, provenance={"who": {"packages": {bad: bad}}})]
    new = [_later(record) for record in new]
    text = diff_text(compare(make_run(old), make_run(new, suite=bad), old, new))
    assert all(line.isprintable() for line in text.split("\n"))
    assert not any(line.startswith("worse: nothing") for line in text.split("\n"))
    assert r"x\x1b]0;title\x07\x1b[2J\u202e\r\nworse: nothing | " in text


def test_the_json_has_all_of_it_in_si_units(diff: Diff) -> None:
    document = json.loads(json.dumps(diff_json(diff)))
    assert document["schema"] == 1 and document["is_worse"] is True
    assert (document["before"]["id"], document["after"]["finished"]) == ("aaaaaaaa-1", None)
    slower, smaller = document["differences"]
    assert (slower["metric"], slower["method"], slower["is_worse"]) == ("latency", "slower", True)
    assert slower["change"]["value"] == pytest.approx(0.05)
    assert slower["after"]["value"] == pytest.approx(1.05e-3) and slower["after"]["record"] == _slower_id(diff)
    assert slower["inputs"] == [{"part": "versions", "name": "packages.ort", "before": "1.30", "after": "1.31"}]
    assert (smaller["metric"], smaller["q"], smaller["before"]["value"]) == ("artifact_size", None, 40_000)
    (broke,) = document["statuses"]
    assert (broke["before"]["status"], broke["after"]["status"], broke["is_worse"]) == ("ok", "wrong", True)
    assert [cell["method"] for cell in document["only_before"]] == ["gone"]
    assert [cell["method"] for cell in document["only_after"]] == ["come"]
    assert [cell["method"] for cell in document["elsewhere"][0]["cells"]] == ["moved"]
    assert document["not_compared"][0]["why"] == "missing now: the meter fell off"
    assert document["numbers_compared"] == document["numbers_unchanged"] + 2


def _slower_id(diff: Diff) -> str:
    return next(one.after.id for one in diff.differences if one.metric == "latency")
