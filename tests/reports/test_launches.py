from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reports.launches import launch_table
from results.record import Record

MakeRecord = Callable[..., Record]


def _columns(record: Record) -> dict[str, list[str]]:
    table = launch_table(record)
    assert table is not None
    return {head: [str(row[i]) for row in table.rows] for i, head in enumerate(table.heads)}


def _said(launches: Any) -> dict[str, Any]:
    return {"runtime": {"launches": launches}}


def test_without_a_word_from_the_runner_the_samples_speak(make_record: MakeRecord) -> None:
    columns = _columns(make_record(latency=[1e-3, 2e-3]))
    assert list(columns) == ["launch", "warm-up samples", "timed samples", "median"]
    assert (columns["launch"], columns["warm-up samples"], columns["timed samples"]) == (["1", "2"], ["2", "2"], ["5", "5"])
    assert "1 ms" in columns["median"][0] and "2 ms" in columns["median"][1]


def test_what_each_process_said_of_itself_stands_beside_it(make_record: MakeRecord) -> None:
    launches = [
        {"process_before": {"cpu_s": 1.0}, "process_after": {"cpu_s": 1.5}, "state_before": {"celsius": 40.0}, "state_after": {"celsius": 55.0}},
        {"warmup": {"seconds": 0.2, "capped": True}, "memory": {"peak_rss_bytes": 5e6}, "state_before": {"celsius": 50.0}, "state_after": {"celsius": 50.0}},
    ]  # fmt: skip
    columns = _columns(make_record(latency=[1e-3, 2e-3], provenance=_said(launches)))
    assert columns["processor time"] == ["500 ms", ""]
    assert columns["warm-up"] == ["", "200 ms, capped"]
    assert columns["peak memory"] == ["", "5 MB"]
    assert columns["temperature"] == ["40 °C → 55 °C", "50 °C"]


@pytest.mark.parametrize("broken", [None, 3, "x", [], [None, 3], [{"memory": 5, "load_s": "soon", "warmup": [1]}], {"0": {}}])
def test_words_of_any_shape_are_borne(broken: Any, make_record: MakeRecord) -> None:
    assert list(_columns(make_record(latency=[1e-3, 2e-3], provenance=_said(broken)))) == [
        "launch",
        "warm-up samples",
        "timed samples",
        "median",
    ]


def test_where_nothing_was_timed_there_is_no_table(make_record: MakeRecord) -> None:
    assert launch_table(make_record(latency=None)) is None
    assert launch_table(make_record(status="failed", reason="r")) is None
