from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from reports.compare import Diff, compare
from reports.diff_text import verdict
from results.record import Measurement, Record, Run, Samples

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
RIGHT = [1.0] * 180 + [0.0] * 20


@pytest.fixture
def diff(make_run: MakeRun) -> Callable[..., Diff]:
    """Compare two lists of records as two runs."""

    def of(before: Sequence[Record], after: Sequence[Record], **options: Any) -> Diff:
        runs = [dataclasses.replace(make_run(records), id=name * 8) for name, records in (("a", before), ("b", after))]
        return compare(runs[0], runs[1], before, after, **options)

    return of


def _later(record: Record, **replaced: Any) -> Record:
    """The same cell in a later run."""
    return dataclasses.replace(record, id=f"{record.id[:-1]}{'0' if record.id[-1] != '0' else '1'}", **replaced)


def _per_launch(metric: str, unit: str, values: Sequence[float]) -> Measurement:
    samples = dataclasses.replace(Samples.of(values), launch=np.arange(len(values), dtype=np.uint16))
    return Measurement(metric, unit, "measured", "made up", samples)


def test_a_slower_cell_is_worse_with_its_size_and_interval(make_record: MakeRecord, diff: Callable[..., Diff]) -> None:
    old = make_record(latency=[1.0e-3, 1.002e-3, 0.998e-3])
    new = _later(make_record(latency=[1.1e-3, 1.102e-3, 1.098e-3]))
    (found,) = diff([old], [new]).differences
    assert (found.metric, found.is_worse) == ("latency", True)
    assert found.change.value == pytest.approx(0.1, abs=1e-4)
    assert found.change.low is not None and found.change.high is not None
    assert 0.09 < found.change.low < 0.1 < found.change.high < 0.11
    assert found.q is not None and found.q < 0.05
    (back,) = diff([new], [old]).differences
    assert not back.is_worse and back.change.value == pytest.approx(1 / 1.1 - 1, abs=1e-4)
    assert back.size == pytest.approx(found.size) == pytest.approx(math.log(1.1), abs=1e-4)


def test_a_change_below_the_least_is_not_told_however_sure(make_record: MakeRecord, diff: Callable[..., Diff]) -> None:
    old = make_record(latency=[1.0e-3, 1.00001e-3, 0.99999e-3])
    new = _later(make_record(latency=[1.015e-3, 1.01501e-3, 1.01499e-3]))
    assert diff([old], [new]).differences == ()
    assert len(diff([old], [new], least=0.01).differences) == 1
    assert diff([old], [new]).unchanged == 2


def test_a_change_below_the_machines_noise_floor_is_not_told(make_record: MakeRecord, diff: Callable[..., Diff]) -> None:
    """5 % slower, beyond doubt; but identical programs may differ by 8 % there, which an A/A has told."""
    noise = {"device": {"noise": {"floor": 0.08, "pairs": 20, "taken": "2026-01-01T00:00:00Z"}}}
    old = make_record(latency=[1.0e-3, 1.001e-3, 0.999e-3])
    new = make_record(latency=[1.05e-3, 1.051e-3, 1.049e-3], provenance=noise)
    slow = make_record(latency=[1.15e-3, 1.151e-3, 1.149e-3], provenance=noise)
    assert [found.metric for found in diff([old], [_later(dataclasses.replace(new, provenance={}))]).differences] == ["latency"]
    found = diff([old], [_later(new)])
    assert found.differences == () and found.floor == 0.08 and "noise floor of the machine: 8 %" in verdict(found)
    assert len(diff([old], [_later(slow)]).differences) == 1


def test_what_may_be_chance_is_not_told(make_record: MakeRecord, diff: Callable[..., Diff]) -> None:
    old = make_record(latency=[1.0e-3, 1.2e-3, 0.8e-3])
    new = _later(make_record(latency=[1.1e-3, 1.3e-3, 0.9e-3]))
    assert diff([old], [new]).differences == ()


def test_every_kind_of_number_is_compared_and_judged_by_its_own_direction(
    make_record: MakeRecord, diff: Callable[..., Diff]
) -> None:
    energy, memory = _per_launch("energy", "J", [1.0, 1.001, 0.999]), _per_launch("peak_memory", "B", [8e6, 8.01e6, 7.99e6])
    half = [_per_launch("energy", "J", [0.5, 0.501, 0.499]), _per_launch("peak_memory", "B", [4e6, 4.01e6, 3.99e6])]
    wrong = [0.0] * 60 + RIGHT[60:]
    old = make_record(hits=RIGHT, more=(energy, memory), size=40_000)
    new = _later(make_record(hits=wrong, more=tuple(half), size=44_000))
    found = {one.metric: one for one in diff([old], [new]).differences}
    assert {name: one.is_worse for name, one in found.items()} == {
        "top1": True,
        "artifact_size": True,
        "energy": False,
        "peak_memory": False,
    }
    assert found["top1"].change.unit == "points" and found["top1"].change.value == pytest.approx(-0.3)
    assert found["artifact_size"].change.value == pytest.approx(0.1) and found["artifact_size"].q is None


def test_the_worst_come_first_and_a_wrong_answer_before_all(make_record: MakeRecord, diff: Callable[..., Diff]) -> None:
    def slower(method: str, factor: float) -> tuple[Record, Record]:
        old = make_record(method, latency=[1.0e-3, 1.001e-3, 0.999e-3])
        new = make_record(method, latency=[factor * ms for ms in (1.0e-3, 1.001e-3, 0.999e-3)])
        return old, _later(new)

    fates = [("ok", "unsupported"), ("failed", "ok"), ("ok", "wrong"), ("wrong", "failed"), ("ok", "failed")]
    pairs = [slower("a", 1.1), slower("b", 0.25), slower("c", 1.5), slower("d", 3.0)]
    pairs += [
        (make_record(f"s{i}", status=old, reason="r"), _later(make_record(f"s{i}", status=new, reason="r")))
        for i, (old, new) in enumerate(fates)
    ]
    found = diff([old for old, _ in pairs], [new for _, new in pairs])
    assert [one.after.axes.method for one in found.differences] == ["d", "c", "a", "b"]
    told = [(pair.before.status, pair.after.status) for pair in found.statuses]
    assert told == [("ok", "wrong"), ("ok", "failed"), ("ok", "unsupported"), ("wrong", "failed"), ("failed", "ok")]
    assert found.is_worse


def test_another_machine_is_set_apart_with_what_differs(make_record: MakeRecord, diff: Callable[..., Diff]) -> None:
    def on(kernel: str, boot: str) -> dict[str, Any]:
        return {"device": {"facts": {"kernel": kernel, "cpus": 4, "boot_id": boot}}}

    old = make_record(latency=[1e-3, 1.001e-3, 0.999e-3], provenance=on("6.1", "x"))
    new = _later(make_record(latency=[2e-3, 2.001e-3, 1.999e-3], provenance=on("6.2", "y")), machine_key="11" * 32)
    found = diff([old], [new])
    assert found.differences == () and found.compared == 0 and not found.is_worse
    (group,) = found.elsewhere
    assert [str(changed) for changed in group.differs] == ["machine kernel: 6.1 → 6.2"]
    assert (group.before, group.after) == (old.machine_key, new.machine_key)


def test_a_cell_that_never_reached_a_device_is_a_change_of_status(make_record: MakeRecord, diff: Callable[..., Diff]) -> None:
    new = _later(make_record(status="failed", reason="no compiler"), machine_key="")
    found = diff([make_record()], [new])
    assert found.elsewhere == () and found.is_worse
    assert [pair.after.status for pair in found.statuses] == ["failed"]


def test_cells_of_one_run_only_are_named_and_equal_records_only_counted(
    make_record: MakeRecord, diff: Callable[..., Diff]
) -> None:
    both, gone, come = make_record("both"), make_record("gone"), make_record("come")
    found = diff([both, gone], [both, come])
    assert (found.only_before, found.only_after, found.reused, found.compared) == ((gone,), (come,), 1, 0)
    assert not found.is_worse


def test_numbers_that_do_not_compare_say_why(make_record: MakeRecord, diff: Callable[..., Diff]) -> None:
    lost = Measurement("energy", "J", "measured", "m", None, reason="the meter fell off")
    old = [
        make_record("lost", more=(_per_launch("energy", "J", [1, 2, 3]),)),
        make_record("origin"),
        make_record("single", latency=[1e-3]),
        make_record("data", hits=RIGHT),
        make_record("absent", hits=RIGHT),
    ]
    new = [
        make_record("lost", more=(lost,)),
        make_record("origin", origin="emulated"),
        make_record("single", latency=[2e-3]),
        make_record("data", hits=[*RIGHT, 1.0]),
        make_record("absent"),
    ]
    found = diff(old, [_later(record) for record in new])
    why = {(one.pair.after.axes.method, one.metric): one.why for one in found.uncompared}
    assert why == {
        ("lost", "energy"): "missing now: the meter fell off",
        ("origin", "latency"): "was measured, is emulated",
        ("single", "latency"): "one process launch: no interval without a second launch",
        ("data", "top1"): "judged on other examples than before",
        ("absent", "top1"): "only the old record has it",
    }
    assert found.differences == ()


def test_a_number_computed_from_another_is_not_told_twice(make_record: MakeRecord, diff: Callable[..., Diff]) -> None:
    def record(size: float) -> Record:
        memory = _per_launch("peak_memory", "B", [size, size * 1.001, size * 0.999])
        grown = dataclasses.replace(_per_launch("model_memory", "B", [size / 2] * 3), derived_from=("peak_memory",))
        return make_record(more=(memory, grown))

    assert [one.metric for one in diff([record(8e6)], [_later(record(9e6))]).differences] == ["peak_memory"]


def test_latencies_that_all_move_one_way_raise_suspicion_of_the_machine(
    make_record: MakeRecord, diff: Callable[..., Diff]
) -> None:
    def run(factors: Sequence[float]) -> list[Record]:
        return [make_record(f"m{i}", latency=[f * ms for ms in (1e-3, 1.001e-3, 0.999e-3)]) for i, f in enumerate(factors)]

    old = run([1.0] * 6)
    (drift,) = diff(old, [_later(r) for r in run([1.04, 1.05, 1.06, 1.05, 1.05, 1.07])]).drifts
    assert drift.cells == 6 and drift.change == pytest.approx(0.05, abs=0.002)
    assert diff(old, [_later(r) for r in run([1.04, 1.05, 1.06, 1.05, 1.05, 0.99])]).drifts == ()
    assert diff(old[:4], [_later(r) for r in run([1.05] * 4)]).drifts == ()


def _night(make_record: MakeRecord, rng: np.random.Generator, truth: npt.NDArray[np.float64], launches: int) -> list[Record]:
    """One run of cells with known latencies: launches spread by 1 %, energies too."""
    records = []
    for cell, true in enumerate(truth):
        latency = true * np.exp(rng.normal(0, 0.01, launches))
        energy = _per_launch("energy", "J", list(true * np.exp(rng.normal(0, 0.01, launches))))
        records.append(make_record(f"m{cell}", latency=list(latency), more=(energy,), record_id=rng.bytes(8).hex()))
    return records


def test_two_runs_of_one_truth_alarm_in_few_comparisons(make_record: MakeRecord, diff: Callable[..., Diff]) -> None:
    """150 pairs of runs, each of 8 cells with two metrics, and no floor under the size of a change: at most 5 % may alarm.

    16 alarms or more would be chance in less than 1 % of all seeds if the true rate were 5 %.
    """
    rng, truth = np.random.default_rng(1), np.geomspace(1e-4, 1e-2, 8)
    alarms = 0
    for _ in range(150):
        before, after = (_night(make_record, rng, truth, 5) for _ in range(2))
        alarms += bool(diff(before, after, least=0.0).differences)
    assert alarms < 16


def test_planted_regressions_of_5_percent_are_found(make_record: MakeRecord, diff: Callable[..., Diff]) -> None:
    """One of 20 cells is 5 % slower, launches spread by 1 %, ten of them: found in nearly every pair of runs, and seldom another."""
    rng, truth = np.random.default_rng(2), np.geomspace(1e-4, 1e-2, 20)
    found = others = 0
    for trial in range(20):
        slower = truth.copy()
        slower[trial] *= 1.05
        told = diff(_night(make_record, rng, truth, 10), _night(make_record, rng, slower, 10)).differences
        mine = [one for one in told if one.after.axes.method == f"m{trial}"]
        found += any(one.metric == "latency" and one.is_worse for one in mine)
        others += len(told) - len(mine)
    assert found >= 19
    assert others <= 3


def test_the_nights_of_a_large_store_show_what_was_planted_and_nothing_else(synthetic: Callable[..., Any]) -> None:
    store = synthetic(nights=30)
    night = 15  # channel_prune(ratio=0.5) gets faster on the laptop, the pi4 becomes another machine
    found = compare(store.runs[night - 1], store.runs[night], store.records[night - 1], store.records[night])
    planted = {key for key, when in store.changes.items() if when == night}
    assert planted and {one.after.cell_key for one in found.differences if one.metric == "latency"} >= planted
    surprises = [one for one in found.differences if one.after.cell_key not in planted]
    assert len(surprises) <= 2  # 5 % of the discoveries may be false
    assert not any(one.is_worse for one in found.differences if one.after.cell_key in planted)
    (group,) = found.elsewhere
    assert {pair.after.axes.target for pair in group.pairs} == {"pi4"}
    quiet = compare(store.runs[3], store.runs[4], store.records[3], store.records[4])
    assert quiet.differences == () and quiet.statuses == () and quiet.elsewhere == ()
