from __future__ import annotations

from collections.abc import Callable

from reports.findings import examine
from reports.sentences import Sentence, answers, cell_sentence, claims_sentences
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]


def _text(sentence: Sentence) -> str:
    return "".join(part.text for part in sentence)


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
    found = answers(examine(make_run(smoke_records), smoke_records))
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
    (answer,) = answers(examine(make_run(records), records))
    text = _text(answer.sentences[0])
    assert "rough is 9.99" in text and "at −50.0 points of top-1; the fastest that keeps top-1: gentle is 1.99" in text
    only = records[:2]
    (answer,) = answers(examine(make_run(only), only))
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
    assert answers(findings) == ()


def test_names_are_kept_apart_from_our_words(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(), make_record("is 9x faster than")]
    sentence = cell_sentence(examine(make_run(records), records), records[1])
    assert [part.text for part in sentence if part.is_name] == ["is 9x faster than", "ort", "float32"]


def test_what_varies_is_named(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(m, target=t, threads=n) for m in ("float32", "x") for t in ("pi", "pc") for n in (1, 4)]
    sentence = cell_sentence(examine(make_run(records), records), records[-1])
    assert _text(sentence).startswith("x on ort at pc, 4 threads is ")
