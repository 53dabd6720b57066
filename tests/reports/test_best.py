from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from reports.best import Best, best_cells
from reports.findings import examine
from results.record import Measurement, Record, Run, Samples

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]


def _best(make_run: MakeRun, records: Sequence[Record], *metrics: str) -> frozenset[Best]:
    return best_cells(examine(make_run(records), records), [records], metrics)


def test_the_clearly_fastest_is_best_in_latency_and_speedup(make_record: MakeRecord, make_run: MakeRun) -> None:
    fast = make_record("fast", latency=[0.5e-3, 0.502e-3, 0.498e-3])
    records = [make_record(latency=[1e-3, 1.003e-3, 0.999e-3]), fast, make_record("mid", latency=[0.8e-3, 0.803e-3, 0.799e-3])]
    assert _best(make_run, records, "latency", "speedup") == {Best(fast.id, "latency"), Best(fast.id, "speedup")}


def test_a_lead_that_may_be_chance_is_not_bold(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [
        make_record(latency=[1e-3, 1.003e-3, 0.999e-3]),
        make_record("a", latency=[0.50e-3, 0.55e-3, 0.45e-3]),
        make_record("b", latency=[0.51e-3, 0.46e-3, 0.56e-3]),
    ]
    assert _best(make_run, records, "latency", "speedup") == frozenset()


def test_the_baselines_own_ratio_is_never_bold(make_record: MakeRecord, make_run: MakeRun) -> None:
    base = make_record(latency=[1e-3, 1.003e-3, 0.999e-3])
    records = [base, make_record("slow", latency=[2e-3, 2.003e-3, 1.996e-3])]
    assert _best(make_run, records, "latency", "speedup") == {Best(base.id, "latency")}


def test_accuracy_is_judged_by_the_paired_test(make_record: MakeRecord, make_run: MakeRun) -> None:
    good = make_record("good", hits=[1.0] * 95 + [0.0] * 5)
    poor = make_record("poor", hits=[1.0] * 60 + [0.0] * 40)
    near = make_record("near", hits=[1.0] * 94 + [0.0] * 6)
    assert _best(make_run, [good, poor], "top1") == {Best(good.id, "top1")}
    assert _best(make_run, [good, poor, near], "top1") == frozenset()
    other = make_record("other", hits=[1.0] * 10 + [0.0] * 40)
    assert _best(make_run, [good, other], "top1") == frozenset()  # not the same examples: nothing to pair


def test_counted_metrics_need_no_test_but_a_tie_has_no_winner(make_record: MakeRecord, make_run: MakeRun) -> None:
    small, big = make_record("a", size=100), make_record("b", size=101)
    assert _best(make_run, [small, big], "artifact_size") == {Best(small.id, "artifact_size")}
    assert _best(make_run, [small, make_record("b", size=100)], "artifact_size") == frozenset()


def test_claims_and_lone_cells_are_never_bold(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record("a", macs=10), make_record("b", macs=1000)]
    assert _best(make_run, records, "nonzero_macs", "macs", "claimed_speedup", "no_such_metric") == frozenset()
    assert _best(make_run, records[:1], "latency", "artifact_size") == frozenset()


def test_measured_and_simulated_times_do_not_race_each_other(make_record: MakeRecord, make_run: MakeRun) -> None:
    measured = [make_record(latency=[1e-3, 1.003e-3, 0.999e-3]), make_record("a", latency=[0.5e-3, 0.503e-3, 0.499e-3])]
    dream = make_record("dream", latency=[1e-5, 1.003e-5, 0.999e-5], origin="simulated")
    assert _best(make_run, [*measured, dream], "latency") == {Best(measured[1].id, "latency")}
    other = make_record("other", latency=[1e-3, 1.003e-3, 0.999e-3], origin="emulated")
    assert _best(make_run, [dream, other], "latency") == frozenset()


def test_equal_samples_of_both_have_no_winner(make_record: MakeRecord, make_run: MakeRun) -> None:
    memory = (Measurement("peak_memory", "B", "measured", "-", Samples.of([4096.0] * 3)),)
    assert _best(make_run, [make_record("a", more=memory), make_record("b", more=memory)], "peak_memory") == frozenset()


def test_leads_are_corrected_over_the_table(make_record: MakeRecord, make_run: MakeRun) -> None:
    """A lead with p near 0.03 is bold in a table of its own and not among thirty that are chance."""
    lead = [make_record("x", latency=[0.90e-3, 0.931e-3, 0.9e-3]), make_record("y", latency=[1e-3, 1.01e-3, 0.99e-3])]
    ties = [
        [
            make_record("x", model=f"m{i}", latency=[1e-3, 1.01e-3, 0.99e-3]),
            make_record("y", model=f"m{i}", latency=[1.003e-3, 0.99e-3, 1.01e-3]),
        ]
        for i in range(30)
    ]
    everyone = [*lead, *(record for pair in ties for record in pair)]
    findings = examine(make_run(everyone), everyone)
    assert best_cells(findings, [lead], ["latency"]) == {Best(lead[0].id, "latency")}
    assert best_cells(findings, [lead, *ties], ["latency"]) == frozenset()


def test_the_best_must_beat_every_rival_and_not_the_next_alone(make_record: MakeRecord, make_run: MakeRun) -> None:
    """The runner-up is precise and clearly slower; the third varies so much that it may be the fastest."""
    fast, next_best = (
        make_record("fast", latency=[0.5e-3, 0.501e-3, 0.499e-3]),
        make_record("next", latency=[0.6e-3, 0.601e-3, 0.599e-3]),
    )
    wild = make_record("wild", latency=[0.3e-3, 1.4e-3, 0.7e-3])
    assert _best(make_run, [fast, next_best], "latency") == {Best(fast.id, "latency")}
    assert _best(make_run, [fast, next_best, wild], "latency") == frozenset()


def test_one_launch_leaves_nothing_to_test_so_nothing_is_bold(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(latency=[1e-3]), make_record("fast", latency=[0.1e-3])]
    assert _best(make_run, records, "latency", "speedup") == frozenset()


def test_untested_leads_are_bold_where_that_is_asked_for_but_a_tie_is_not(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(latency=[1e-3]), make_record("fast", latency=[0.99e-3]), make_record("same", latency=[0.99e-3])]
    findings = examine(make_run(records), records)
    untested = best_cells(findings, [records[:2]], ["latency", "speedup", "claimed_speedup"], is_tested=False)
    assert untested == {Best(records[1].id, "latency")}, "one launch: the speed-up cannot be told from 1"
    assert best_cells(findings, [records], ["latency"], is_tested=False) == frozenset()


def test_bold_is_wrong_in_at_most_a_few_of_a_hundred_runs_in_which_nobody_wins(
    make_record: MakeRecord, make_run: MakeRun
) -> None:
    """All methods are equally fast; each run is a table of four models. Any bold latency is a false alarm."""
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(100):
        records = [
            make_record(method, model=f"m{model}", latency=list(1e-3 * np.exp(rng.normal(0, 0.02, 5))))
            for model in range(4)
            for method in ("a", "b", "c")
        ]
        groups = [records[3 * model : 3 * model + 3] for model in range(4)]
        alarms += bool(best_cells(examine(make_run(records, baseline={}), records), groups, ["latency"]))
    assert alarms <= 8, "5 % are borne; more than 8 of 100 have a chance of 4 %"


def test_a_speedup_that_cannot_be_told_from_one_is_not_bold_though_it_beats_its_rivals(
    make_record: MakeRecord, make_run: MakeRun
) -> None:
    base = make_record(latency=[0.5e-3, 2e-3, 1e-3])  # too noisy to beat
    fast, slow = (
        make_record("fast", latency=[0.9e-3, 0.902e-3, 0.898e-3]),
        make_record("slow", latency=[1.8e-3, 1.804e-3, 1.796e-3]),
    )
    findings = examine(make_run([base, fast, slow]), [base, fast, slow])
    assert findings.quantity(fast, "speedup").significant is False
    assert best_cells(findings, [[fast, slow]], ["latency", "speedup"]) == {Best(fast.id, "latency")}
