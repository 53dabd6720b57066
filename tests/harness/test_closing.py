"""Records: what ended a cell decides its status, and what a device says of itself stays of a size."""

from __future__ import annotations

import json

import pytest

from harness.closing import MAX_FACT_BYTES, MAX_REASON, bounded, closed, unmade
from harness.executor import Failure
from harness.plan import Cell
from harness.plugins import Choice
from harness.suite import OperatingPoint, Workload
from results.record import Axes, Run
from targets.target import Target

RUN = Run("run", "suite", {}, 0, "t0")
CELL = Cell(
    Workload(Choice("mlp"), "digits"), Choice("float32"), Choice("onnxruntime"), Target("board"), OperatingPoint(), "float32",
    Axes("mlp", "float32", "onnxruntime", "board"), "key", "hash", "run",
)  # fmt: skip


def test_a_record_says_whose_it_is_and_when() -> None:
    provenance = {"device": {"machine_key": "m"}, "compress": {"claims": {"macs": 3}}}
    record = closed(RUN, CELL, "ok", None, None, "t1", attempt=2, provenance=provenance)
    assert (record.run_id, record.cell_key, record.input_hash, record.axes) == ("run", "key", "hash", CELL.axes)
    assert (record.machine_key, record.claims, record.attempt, record.started) == ("m", {"macs": 3}, 2, "t1")
    assert record.finished > "2026"


@pytest.mark.parametrize(
    ("error_class", "status"), [("Unsupported", "unsupported"), ("OSError", "failed"), ("DiskFull", "invalid")]
)
def test_what_could_not_be_made_keeps_the_log(error_class: str, status: str) -> None:
    record = unmade(RUN, CELL, Failure("build mlp", error_class, "no compiler", "said before"), "t1")
    assert (record.status, record.reason, record.error_class) == (status, "no compiler", error_class)
    assert record.provenance["logs"] == {"step": "build mlp", "tail": "said before"}


def test_a_reason_that_a_device_makes_too_long_is_cut() -> None:
    record = closed(RUN, CELL, "failed", "x" * 10**7, "RunnerError", "t1")
    assert record.reason is not None and len(record.reason) < MAX_REASON + 50 and "10000000 characters" in record.reason


def test_facts_of_a_usual_size_stay_and_others_are_told() -> None:
    usual = {"isa": "aarch64", "cpus": 4, "odd": "\ud800\x1b[2J", "nested": {"a": [1.5, None]}}
    assert bounded(usual) == usual
    hostile = bounded({"flags": ["x" * 1000] * 10**4, "n" * 10**6: 1, **{f"k{n}": n for n in range(10**4)}})
    assert hostile["flags"]["value"] is None and f"more than the {MAX_FACT_BYTES}" in hostile["flags"]["reason"]
    assert len(hostile) == 1000 and len(json.dumps(hostile)) < 10 * MAX_FACT_BYTES
