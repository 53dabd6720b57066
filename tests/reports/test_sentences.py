from __future__ import annotations

from collections.abc import Callable

from reports.contests import contests
from reports.findings import Findings, examine
from reports.heat import winners
from reports.sentences import Answer, Sentence, answers, cell_sentence, claims_sentences, summary, trust
from results.record import Measurement, Record, Run, Samples

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]


def _text(sentence: Sentence) -> str:
    return "".join(part.text for part in sentence)


def _answers(findings: Findings) -> tuple[Answer, ...]:
    return answers(findings, contests(findings))


def _cell(records: list[Record], run: Run, method: str, backend: str = "ort", model: str = "cnn") -> str:
    findings = examine(run, records)
    record = next(r for r in records if (r.axes.method, r.axes.backend, r.axes.model) == (method, backend, model))
    return _text(cell_sentence(findings, record))


def test_a_significant_gain_is_stated_with_its_interval_and_accuracy(smoke_records: list[Record], make_run: MakeRun) -> None:
    text = _cell(smoke_records, make_run(smoke_records), "int8", "lite")
    assert text.startswith("int8 on lite is 4.00")
    assert " faster than float32, top-1 not distinguishable (+0.5 points)." in text
    assert "× [" in text


def test_a_loss_is_a_factor_above_one(smoke_records: list[Record], make_run: MakeRun) -> None:
    text = _cell(smoke_records, make_run(smoke_records), "slim")
    assert text.startswith("slim on ort is 1.50")
    assert "slower than float32, at −20.0 points of top-1." in text


def test_what_chance_could_explain_is_not_called_faster(smoke_records: list[Record], make_run: MakeRun) -> None:
    text = _cell(smoke_records, make_run(smoke_records), "prune(sparsity=0.75)")
    assert text.startswith("prune(sparsity=0.75) on ort is not distinguishable in speed from float32 (")
    assert "faster" not in text and "slower" not in text


def test_a_cell_that_is_not_ok_says_why(smoke_records: list[Record], make_run: MakeRun) -> None:
    run = make_run(smoke_records)
    assert _cell(smoke_records, run, "slim", "lite") == "slim on lite is wrong: SQNR 3 dB, at least 20 dB is asked see check."
    assert _cell(smoke_records, run, "float32").startswith("float32 on ort is the baseline: 1.000")


def test_without_a_fair_comparison_the_time_stands_alone(smoke_records: list[Record], make_run: MakeRun) -> None:
    text = _cell(smoke_records, make_run(smoke_records), "slim", "lite", "resnet(width=16)")
    assert text.startswith("slim on lite takes 15.0")
    assert "(no ratio: the baseline is measured, this cell is simulated: the two are not compared)" in text


def test_emulated_times_are_named_so(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(origin="emulated"), make_record("int8", latency=[5e-4, 5.02e-4, 4.98e-4], origin="emulated")]
    assert "faster than float32 (emulated times)" in _cell(records, make_run(records), "int8")


def test_a_baseline_on_another_backend_is_named_with_it(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(), make_record("int8", "lite", latency=[5e-4, 5.02e-4, 4.98e-4])]
    run = make_run(records, baseline={"method": "float32", "backend": "ort"})
    assert "faster than float32 on ort" in _cell(records, run, "int8", "lite")


def test_the_answer_names_the_fastest_and_counts_the_rest(smoke_records: list[Record], make_run: MakeRun) -> None:
    found = _answers(examine(make_run(smoke_records), smoke_records))
    assert [answer.model for answer in found] == ["cnn", "resnet(width=16)"]
    ort, lite = map(_text, found[0].sentences)
    assert ort.startswith("On ort: int8 is 2.00") and ort.endswith("The other methods: 1 not distinguishable, 1 slower.")
    assert lite.startswith("On lite: int8 is 4.00") and lite.endswith("The other methods: 1 not distinguishable, 1 wrong.")
    resnet = _text(found[1].sentences[0])
    assert resnet.startswith("On ort: no method is distinguishably faster than the baseline: 1 unsupported, 1 ")


def test_the_fastest_that_keeps_its_accuracy_is_named_too(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [
        make_record(hits=[1.0] * 100, latency=[1e-3, 1.002e-3, 0.998e-3]),
        make_record("rough", hits=[1.0] * 50 + [0.0] * 50, latency=[1e-4, 1.003e-4, 0.999e-4]),
        make_record("gentle", hits=[1.0] * 100, latency=[5e-4, 5.02e-4, 4.99e-4]),
    ]
    (answer,) = _answers(examine(make_run(records), records))
    text = _text(answer.sentences[0])
    assert "rough is 9.99" in text and "at −50.0 points of top-1; the fastest that keeps top-1: gentle is 1.99" in text
    only = records[:2]
    (answer,) = _answers(examine(make_run(only), only))
    assert "no faster method keeps top-1" in _text(answer.sentences[0])


def test_claims_are_held_against_what_was_measured(smoke_records: list[Record], make_run: MakeRun) -> None:
    summary, widest = map(_text, claims_sentences(examine(make_run(smoke_records), smoke_records)))
    # prune (4 cells) and slim (2 on `ort`; on `lite` one is wrong and one has no ratio) claim fewer MACs; none gives any speed.
    assert summary == (
        "6 cells claim fewer multiply-accumulates than the baseline; none are really faster, none reach what is claimed."
    )
    assert widest.startswith("The widest gap: prune(sparsity=0.75) of ") and "claims 4×, and gives " in widest
    assert widest.endswith("which cannot be told from 1.")


def test_a_claim_is_not_reached_by_an_interval_that_is_merely_wide(make_record: MakeRecord, make_run: MakeRun) -> None:
    """Only what is really faster can reach its claim."""
    wild = [2e-3, 0.1e-3, 1e-3]
    records = [make_record(latency=[1e-3, 1.002e-3, 0.998e-3]), make_record("wild", latency=wild, macs=500_000)]
    records.append(make_record("true", latency=[0.5e-3, 0.502e-3, 0.4985e-3], macs=500_000))
    summary, _ = map(_text, claims_sentences(examine(make_run(records), records)))
    assert summary == "2 cells claim fewer multiply-accumulates than the baseline; 1 is really faster, 1 reaches what is claimed."


def test_without_claims_or_baselines_nothing_is_said(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record()]
    findings = examine(make_run(records), records)
    assert claims_sentences(findings) == ()
    assert _answers(findings) == ()


def test_names_are_kept_apart_from_our_words(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(), make_record("is 9x faster than")]
    sentence = cell_sentence(examine(make_run(records), records), records[1])
    assert [part.text for part in sentence if part.is_name] == ["is 9x faster than", "ort", "float32"]


def test_what_varies_is_named(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(m, target=t, threads=n) for m in ("float32", "x") for t in ("pi", "pc") for n in (1, 4)]
    sentence = cell_sentence(examine(make_run(records), records), records[-1])
    assert _text(sentence).startswith("x on ort at pc, 4 threads is ")


def test_the_summary_counts_wins_over_all_combinations(smoke_records: list[Record], make_run: MakeRun) -> None:
    findings = examine(make_run(smoke_records), smoke_records)
    (sentence,) = summary(findings, contests(findings))
    text = _text(sentence)
    assert text.startswith(
        "The fastest without a measurable loss of quality: int8 in 3 of 4 combinations of model and backend (typically 4.00"
    )
    assert text.endswith("× faster); in 1 there is none.")
    assert [part.text for part in sentence if part.is_name] == ["int8"]


def test_the_summary_needs_several_combinations_and_tells_when_nothing_wins(make_record: MakeRecord, make_run: MakeRun) -> None:
    same = [1e-3, 1.001e-3, 0.999e-3]
    records = [make_record(m, b, latency=same) for m in ("float32", "x") for b in ("ort", "lite")]
    findings = examine(make_run(records), records)
    assert summary(findings, contests(findings)[:1]) == ()
    (sentence,) = summary(findings, contests(findings))
    assert _text(sentence) == "In none of the 2 combinations of backend is a method faster without a measurable loss of quality."


def test_the_summary_names_few_and_counts_the_rest(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = []
    for number in range(5):
        base, fast = [1e-3, 1.001e-3, 0.999e-3], [5e-4, 5.01e-4, 4.995e-4]
        records += [make_record(model=f"m{number}", latency=base), make_record(f"x{number}", model=f"m{number}", latency=fast)]
    findings = examine(make_run(records), records)
    (sentence,) = summary(findings, contests(findings))
    assert [part.text for part in sentence if part.is_name] == ["x0", "x1", "x2"] and _text(sentence).endswith("; others in 2.")


def test_trust_names_what_was_not_measured_and_what_is_noisy(make_record: MakeRecord, make_run: MakeRun) -> None:
    steady = [1e-3, 1.001e-3, 0.999e-3]
    records = [
        make_record(m, target=t, latency=steady, origin=o)
        for m in ("float32", "x")
        for t, o in (("pc", "measured"), ("qemu", "emulated"))
    ]
    records.append(make_record("wild", target="pc", latency=[1e-3, 3e-3, 2e-3], flags=("throttled",)))
    texts = [_text(sentence) for sentence in trust(examine(make_run(records), records))]
    assert texts[0] == "The times of qemu are emulated: compared with nothing that was measured."
    assert texts[1] == "1 of 5 cells is noisier than a measurement should be, all on pc: their notes say how."
    lone = [make_record(latency=[1e-3])]
    assert any("No time has an interval" in _text(s) for s in trust(examine(make_run(lone), lone)))
    assert trust(examine(make_run([]), [])) == ()


def test_what_was_not_measured_is_summed_up_by_itself(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = []
    for number in range(6):
        origin, fast = ("measured", 5e-4) if number < 3 else ("emulated", 2.5e-4)
        steady = [(k * 1e-3, k * fast) for k in (1.0, 1.001, 0.999)]
        base, quick = zip(*steady, strict=True)
        records.append(make_record(model=f"m{number}", latency=list(base), origin=origin))
        records.append(make_record("x", model=f"m{number}", latency=list(quick), origin=origin, macs=500_000))
    findings = examine(make_run(records), records)
    assert [_text(sentence) for sentence in summary(findings, contests(findings))] == [
        "The fastest without a measurable loss of quality: x in 3 of 3 combinations of model (typically 2× faster).",
        "By emulated times: the fastest without a measurable loss of quality: x in 3 of 3 combinations of model (typically 4.00× faster).",
    ]
    claims = [_text(sentence) for sentence in claims_sentences(findings)]
    assert claims[0].startswith("3 cells claim") and "The widest gap: x of m" in claims[1]
    assert claims[2].startswith("By emulated times: 3 cells claim") and claims[3].startswith(
        "By emulated times: the widest gap: x of m"
    )


def test_what_a_backend_cannot_run_at_all_is_no_answer(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(m, target="board", status="unsupported", reason="no Python there") for m in ("float32", "x")]
    records += [make_record(), make_record("x")]
    findings = examine(make_run(records), records)
    assert [_text(sentence) for answer in _answers(findings) for sentence in answer.sentences if "board" in _text(sentence)] == []


def test_a_device_that_counts_and_tells_no_time_is_in_no_sum_of_times(make_record: MakeRecord, make_run: MakeRun) -> None:
    no_time = Measurement("latency", "s", "emulated", "timed", None, "its clock counts instructions")
    counts = Measurement("instructions", "1", "emulated", "counted", Samples.of([25_431.0] * 3), clock="instructions")
    records = [make_record(m, model=n, latency=None, more=(no_time, counts)) for m in ("float32", "x") for n in ("a", "b")]
    findings = examine(make_run(records), records)
    assert summary(findings, contests(findings)) == ()
    assert {
        square.text for block in winners(findings, contests(findings)).blocks for row in block.rows for square in row.squares
    } == {"no ratio"}


def test_where_instructions_are_counted_they_are_told_and_no_time_is(make_record: MakeRecord, make_run: MakeRun) -> None:
    def counted(number: float) -> tuple[Measurement, ...]:
        no_time = Measurement("latency", "s", "emulated", "timed", None, "its clock counts instructions")
        return no_time, Measurement("instructions", "1", "emulated", "counted", Samples.of([number] * 3), clock="instructions")

    numbers = {"float32": 1_000_000.0, "int8": 400_000.0, "x": 600_000.0}
    records = [make_record(m, latency=None, hits=[1.0, 0.0], target="board", more=counted(n)) for m, n in numbers.items()]
    records.append(make_record("y", target="board", status="failed", reason="no luck"))
    run = make_run(records)
    findings = examine(run, records)
    (answer,) = _answers(findings)
    assert [_text(sentence) for sentence in answer.sentences] == [
        "On ort, fewest instructions: int8 executes 400,000 instructions, the baseline 1,000,000, top-1 unchanged. "
        "The other method: 1 failed."
    ]
    assert _cell(records, run, "float32").startswith("float32 on ort executes 1,000,000 instructions")
    assert [_text(sentence) for sentence in trust(findings)] == ["No times of board: instructions are counted there."]
