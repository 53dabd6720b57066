from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from reports.findings import can_be_paired, corrected, examine, is_significant
from results import stats
from results.record import Measurement, Record, Run, Samples

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]


def test_a_quantity_is_the_statistic_of_the_timed_samples(make_record: MakeRecord, make_run: MakeRun) -> None:
    record = make_record(latency=(1e-3, 1.1e-3, 0.9e-3), hits=[1, 0, 1, 1])
    findings = examine(make_run([record]), [record])
    latency, top1 = findings.quantity(record, "latency"), findings.quantity(record, "top1")
    measured = record.measurement("latency")
    assert measured is not None and measured.samples is not None
    expected = stats.median_interval(measured.samples)
    assert (latency.value, latency.low, latency.high, latency.unit) == (expected.estimate, expected.low, expected.high, "s")
    assert latency.value == pytest.approx((1.0 * 1.1 * 0.9) ** (1 / 3) * 1e-3, rel=0.02)
    assert (top1.value, top1.unit) == (0.75, "1")
    assert top1.low is not None and top1.high is not None and top1.low < 0.75 < top1.high


def test_warm_up_and_equal_samples_have_no_interval(make_record: MakeRecord, make_run: MakeRun) -> None:
    only_warm = Samples(np.ones(3), np.zeros(3, np.uint16), np.zeros(3, bool), np.ones(3, np.uint32), np.zeros(3))
    record = make_record(
        more=(
            Measurement("load_time", "s", "measured", "-", only_warm),
            Measurement("peak_memory", "B", "measured", "-", Samples.of([4096.0, 4096.0, 4096.0])),
        )
    )
    findings = examine(make_run([record]), [record])
    assert findings.quantity(record, "load_time").missing == "every sample was taken while warming up"
    peak = findings.quantity(record, "peak_memory")
    assert (peak.value, peak.low, peak.high) == (4096.0, None, None)


def test_a_sample_that_is_not_finite_voids_its_metric_and_every_ratio_to_it(make_record: MakeRecord, make_run: MakeRun) -> None:
    base, cell = make_record(latency=[math.nan, 1e-3]), make_record("int8")
    findings = examine(make_run([base, cell]), [base, cell])
    assert findings.quantity(base, "latency").missing == "a sample is not a finite number"
    assert findings.quantity(cell, "speedup").missing == "the baseline has no latency"


def test_times_that_are_not_positive_have_no_ratio(make_record: MakeRecord, make_run: MakeRun) -> None:
    base, cell = make_record(latency=[0.0, 1e-3, -1e-3]), make_record("int8")
    findings = examine(make_run([base, cell]), [base, cell])
    assert findings.quantity(cell, "speedup").missing == "a launch median is not positive"


def test_a_perfect_score_keeps_its_interval(make_record: MakeRecord, make_run: MakeRun) -> None:
    record = make_record(hits=[1.0] * 50)
    top1 = examine(make_run([record]), [record]).quantity(record, "top1")
    assert top1.value == 1.0 and top1.low is not None and top1.low < 1.0


def test_speedup_is_baseline_over_candidate(make_record: MakeRecord, make_run: MakeRun) -> None:
    base, fast = make_record(), make_record("int8", latency=(0.25e-3, 0.2525e-3, 0.2475e-3))
    findings = examine(make_run([base, fast]), [base, fast])
    speedup = findings.quantity(fast, "speedup")
    assert speedup.value == pytest.approx(4.0, rel=0.02)
    assert speedup.significant is True
    own = findings.quantity(base, "speedup")
    assert (own.value, own.low, own.high, own.significant) == (1.0, None, None, None)


@pytest.mark.parametrize(
    ("base", "candidate", "reason"),
    [
        ({"status": "failed", "reason": "x"}, {}, "the baseline cell is failed"),
        (None, {}, "the baseline cell is not in this run"),
        ({"latency": None}, {}, "the baseline has no latency"),
        ({}, {"latency": None}, "this cell has no latency"),
        ({}, {"origin": "simulated"}, "the baseline is measured, this cell is simulated: the two are not compared"),
    ],
)
def test_without_a_fair_baseline_there_is_no_ratio_but_a_reason(
    base: dict[str, object] | None, candidate: dict[str, object], reason: str, make_record: MakeRecord, make_run: MakeRun
) -> None:
    cell = make_record("int8", **candidate)
    records = [cell] if base is None else [make_record(**base), cell]
    findings = examine(make_run(records), records)
    assert findings.quantity(cell, "speedup").missing == reason
    assert cell.id not in findings.comparisons


def test_a_ratio_across_tiers_of_clock_control_is_marked(make_record: MakeRecord, make_run: MakeRun) -> None:
    def cell(method: str, tier: str | None) -> Record:
        control: dict[str, Any] = (
            {} if tier is None else {"control": {"tier": tier, "reason": None, "held_hz": {}, "settings": []}}
        )
        return make_record(method, latency=(1e-3, 1.01e-3, 0.99e-3), provenance={"device": control})

    base, same, other, unknown = (
        cell(*named) for named in (("float32", "pinned"), ("int8", "pinned"), ("prune", "requested"), ("old", None))
    )
    findings = examine(make_run([base, same, other, unknown]), [base, same, other, unknown])
    remark = "the clock was requested here and pinned for the baseline"
    assert [remark in findings.quantity(record, "speedup").remarks for record in (same, other, unknown)] == [False, True, False]
    assert not any("clock" in r for record in (same, unknown) for r in findings.quantity(record, "speedup").remarks)


def test_without_a_baseline_in_the_suite_the_reason_says_so(make_record: MakeRecord, make_run: MakeRun) -> None:
    record = make_record()
    findings = examine(make_run([record], baseline={}), [record])
    assert findings.quantity(record, "speedup").missing == "the suite names no baseline"


def test_cells_that_are_not_ok_have_no_numbers_at_all(make_record: MakeRecord, make_run: MakeRun) -> None:
    bad = make_record("int8", status="wrong", more=(Measurement("latency", "s", "measured", "-", Samples.of(1e-3)),))
    findings = examine(make_run([bad]), [bad])
    assert bad.id not in findings.quantities


def test_q_corrects_over_the_whole_matrix(make_record: MakeRecord, make_run: MakeRun) -> None:
    """The same cell is significant by itself and not among many: the family is the run."""
    base = make_record(latency=[1e-3, 1.01e-3, 0.99e-3])
    edge = make_record("edge", latency=[0.90e-3, 0.931e-3, 0.9e-3])
    alone = examine(make_run([base, edge]), [base, edge]).comparisons[edge.id]
    noise = [make_record(f"same{i}", latency=[(1 + 0.02 * math.sin(7 * i + k)) * 1e-3 for k in range(3)]) for i in range(40)]
    everyone = [base, edge, *noise]
    crowded = examine(make_run(everyone), everyone).comparisons[edge.id]
    assert alone.ratio == crowded.ratio
    assert alone.q is not None and alone.q == pytest.approx(alone.ratio.p_value)
    assert alone.significant
    assert crowded.q is not None and crowded.q > alone.q
    assert not crowded.significant


def test_one_launch_leaves_a_ratio_that_is_never_significant(make_record: MakeRecord, make_run: MakeRun) -> None:
    base, fast = make_record(latency=[1e-3]), make_record("int8", latency=[1e-4])
    findings = examine(make_run([base, fast]), [base, fast])
    assert findings.quantity(fast, "speedup").value == pytest.approx(10.0)
    assert findings.quantity(fast, "speedup").significant is False


def test_quality_change_is_paired_and_needs_the_same_examples(make_record: MakeRecord, make_run: MakeRun) -> None:
    base = make_record(hits=[1.0] * 90 + [0.0] * 10)
    worse = make_record("worse", hits=[1.0] * 60 + [0.0] * 40)
    nearly = make_record("nearly", hits=[1.0] * 89 + [0.0] * 11)
    short = make_record("short", hits=[1.0] * 50)
    records = [base, worse, nearly, short]
    findings = examine(make_run(records), records)
    assert findings.quantity(worse, "quality_change").value == pytest.approx(-0.3)
    assert findings.quantity(worse, "quality_change").significant is True
    assert findings.quantity(nearly, "quality_change").value == pytest.approx(-0.01)
    assert findings.quantity(nearly, "quality_change").significant is False
    assert findings.quantity(short, "quality_change").missing == (
        "the baseline was judged on 100 examples, this cell on 50, and they are not the same"
    )
    assert findings.quantity(base, "quality_change").value == 0.0


def test_claimed_ratios_stand_on_the_claims_alone(make_record: MakeRecord, make_run: MakeRun) -> None:
    base = make_record(macs=1_000_000, weight_bytes=40_000)
    pruned = make_record("prune", macs=250_000, weight_bytes=20_000)
    silent = make_record("silent", macs=None)
    records = [base, pruned, silent]
    findings = examine(make_run(records), records)
    assert findings.quantity(pruned, "claimed_speedup").value == 4.0
    assert findings.quantity(pruned, "claimed_size_ratio").value == 2.0
    assert findings.quantity(silent, "claimed_speedup").missing == "the baseline and this cell do not both claim nonzero_macs"
    assert findings.quantity(pruned, "nonzero_macs").value == 250_000.0


def test_remarks_tell_origin_flags_and_a_noisy_baseline(make_record: MakeRecord, make_run: MakeRun) -> None:
    base, cell = make_record(flags=("throttled",)), make_record("int8")
    emulated = make_record("emu", origin="emulated")
    records = [base, cell, emulated]
    findings = examine(make_run(records), records)
    assert any("throttled" in remark for remark in findings.quantity(base, "latency").remarks)
    assert any("baseline unstable" in remark for remark in findings.quantity(cell, "speedup").remarks)
    assert any(remark.startswith("emulated") for remark in findings.quantity(emulated, "latency").remarks)
    assert findings.quantity(cell, "latency").remarks == ()


def test_only_launches_of_one_run_that_stood_side_by_side_are_paired(make_record: MakeRecord) -> None:
    a, b = make_record(), make_record("int8")
    assert can_be_paired(a, b, "latency")
    assert not can_be_paired(a, make_record("int8", run_id="other"), "latency")
    assert not can_be_paired(a, make_record("int8", latency=(1e-3, 1e-3)), "latency")
    assert not can_be_paired(a, make_record("int8", latency=None), "latency")


@pytest.mark.parametrize(
    ("low", "high", "q", "expected"),
    [(1.1, 1.3, 0.04, True), (1.1, 1.3, 0.05, False), (0.9, 1.3, 0.01, False), (0.5, 0.9, 0.01, True), (1.1, 1.3, None, False), (None, None, 0.01, False)],
)  # fmt: skip
def test_significance_needs_both_a_small_q_and_an_interval_without_1(
    low: float | None, high: float | None, q: float | None, expected: bool
) -> None:
    assert is_significant(stats.Ratio(1.2, low, high, 0.01, True), q) is expected


def test_correction_is_benjamini_and_hochbergs_over_what_was_tested() -> None:
    p = {"a": 0.01, "b": None, "c": 0.04, "d": 0.03, "e": math.nan}
    assert corrected(p) == pytest.approx({"a": 0.03, "c": 0.04, "d": 0.04})
    assert corrected({}) == {}


def test_a_metric_that_was_not_taken_is_missing_with_a_reason(make_record: MakeRecord, make_run: MakeRun) -> None:
    record = make_record(more=(Measurement("energy", "J", "measured", "-", None, reason="no meter"),))
    findings = examine(make_run([record]), [record])
    assert findings.quantity(record, "energy").missing == "no meter"
    assert findings.quantity(record, "power").missing == "this cell has no metric `power`"


def test_a_ratio_within_the_machines_noise_floor_is_none(make_record: MakeRecord, make_run: MakeRun) -> None:
    """4 % faster without a doubt; where identical programs may differ by 6 %, that is no difference."""

    def significant(floor: float | None) -> bool | None:
        noise = {"device": {"noise": {"floor": floor}}}
        base = make_record(latency=[1.04e-3, 1.0401e-3, 1.0399e-3], provenance=noise)
        cell = make_record("int8", latency=[1.0e-3, 1.0001e-3, 0.9999e-3], provenance=noise)
        return examine(make_run([base, cell]), [base, cell]).quantity(cell, "speedup").significant

    assert [significant(None), significant(0.001), significant(0.06)] == [True, True, False]
