"""The answer in words, generated from the records: a difference is stated only where it is significant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from reports.findings import Comparison, Findings, quality_metric
from reports.matrix import Place, place_of
from reports.metrics import title_of
from reports.rounding import Scale, alone, printed
from results.record import Record


class Part(NamedTuple):
    text: str
    is_name: bool = False
    """A label of the suite: set apart in print, never mixed up with our own words."""


Sentence = tuple[Part, ...]


class Answer(NamedTuple):
    """What one model gains, backend by backend."""

    model: str
    sentences: tuple[Sentence, ...]


def answers(findings: Findings) -> tuple[Answer, ...]:
    """One sentence for each model, backend, target and operating point: the fastest method, at what accuracy, and what became of the rest."""
    matrix = findings.matrix
    contexts: dict[str, dict[Place, list[Record]]] = {model: {} for model in matrix.labels["model"]}
    for place, record in matrix.records.items():
        if not findings.is_baseline(record):
            contexts[place.model].setdefault(place._replace(method=""), []).append(record)
    return tuple(
        Answer(model, tuple(_context_sentence(findings, place, records) for place, records in places.items()))
        for model, places in contexts.items()
        if places
    )


def cell_sentence(findings: Findings, record: Record) -> Sentence:
    """What one cell says, in one sentence."""
    return _joined(_subject(findings, place_of(record.axes)), *_verdict(findings, record), Part("."))


def claims_sentences(findings: Findings) -> tuple[Sentence, ...]:
    """What came of the claims of fewer multiply-accumulates, and where the gap is widest."""
    claiming = []
    for record in findings.matrix.records.values():
        found = findings.comparisons.get(record.id)
        claim = findings.quantity(record, "claimed_speedup").value if found else None
        if found is not None and claim is not None and claim > 1.0:
            claiming.append((claim, found, record))
    if not claiming:
        return ()
    gains = [(claim, found.ratio) for claim, found, _ in claiming if found.significant and found.ratio.estimate > 1]
    faster, reached = len(gains), sum(ratio.high is not None and ratio.high >= claim for claim, ratio in gains)
    summary = (
        f"{len(claiming)} {'cell claims' if len(claiming) == 1 else 'cells claim'} fewer multiply-accumulates than the baseline; "
        f"{faster or 'none'} {'is' if faster == 1 else 'are'} really faster, {reached or 'none'} "
        f"{'reaches' if reached == 1 else 'reach'} what is claimed."
    )
    claim, found, record = max(claiming, key=lambda item: item[0] / item[1].ratio.estimate)
    widest = (
        Part("The widest gap: "),
        *_subject(findings, place_of(record.axes), with_model=True),
        Part(
            f" claims {printed(Scale('×', 1.0), claim).value}×, and gives {alone('speedup', findings.quantity(record, 'speedup'))}"
        ),
        Part("." if found.significant else ", which cannot be told from 1."),
    )
    return (Part(summary),), widest


def _context_sentence(findings: Findings, place: Place, records: Sequence[Record]) -> Sentence:
    """`place` is that of the records, its method left out."""
    where = _where(findings, place)
    compared = [(c.ratio.estimate, r) for r in records if (c := findings.comparisons.get(r.id)) is not None and c.significant]
    faster = sorted((item for item in compared if item[0] > 1), key=lambda item: -item[0])
    if not faster:
        summary = f": no method is distinguishably faster than the baseline: {_fates(findings, records)}."
        return _joined(Part("On "), *where, Part(summary))
    best = faster[0][1]
    parts = [Part("On "), *where, Part(": "), Part(best.axes.method, True), *_verdict(findings, best)]
    keeping = next((r for _, r in faster if not _loses_accuracy(findings, r)), None)
    if keeping is None:
        parts.append(Part("; no faster method keeps top-1"))
    elif keeping is not best:
        parts += [Part("; the fastest that keeps top-1: "), Part(keeping.axes.method, True), *_verdict(findings, keeping)]
    told = {best.id, keeping.id if keeping else best.id}
    return _joined(*parts, *_rest(findings, [r for r in records if r.id not in told]))


def _verdict(findings: Findings, record: Record) -> Iterator[Part]:
    """` is 3.21× [3.10, 3.33] faster than float32, at −0.3 points of top-1`."""
    if record.status != "ok":
        reason = " ".join((record.reason or "no reason was recorded").split()).rstrip(".")
        yield Part(f" is {record.status}: {reason}")
        return
    if findings.is_baseline(record):
        yield Part(f" is the baseline: {alone('latency', findings.quantity(record, 'latency')) or 'without a latency'}")
        return
    found = findings.comparisons.get(record.id)
    if found is None:
        yield Part(f" takes {alone('latency', findings.quantity(record, 'latency')) or 'an unknown time'}")
        yield Part(f" (no ratio: {findings.quantity(record, 'speedup').missing})")
        return
    yield from _speed(found, _baseline_parts(record, found.baseline))
    origin = findings.quantity(record, "latency").origin
    if origin != "measured":
        yield Part(f" ({origin} times)")
    yield from _accuracy(findings, record)


def _speed(found: Comparison, baseline: Sequence[Part]) -> Iterator[Part]:
    estimate, low, high = found.ratio.estimate, found.ratio.low, found.ratio.high
    if not found.significant:
        yield Part(" is not distinguishable in speed from ")
        yield from baseline
        yield Part(f" ({_times(estimate, low, high)})")
    elif estimate > 1:
        yield Part(f" is {_times(estimate, low, high)} faster than ")
        yield from baseline
    else:
        yield Part(f" is {_times(1 / estimate, 1 / high if high else None, 1 / low if low else None)} slower than ")
        yield from baseline


def _accuracy(findings: Findings, record: Record) -> Iterator[Part]:
    change, name = findings.quantity(record, "quality_change"), title_of(quality_metric(record))
    if change.value is None:
        return
    if change.significant:
        yield Part(f", at {alone('quality_change', change)} of {name}")
    elif change.value == 0:
        yield Part(f", {name} unchanged")
    else:
        yield Part(f", {name} not distinguishable ({alone('quality_change', change)})")


def _rest(findings: Findings, records: Sequence[Record]) -> Iterator[Part]:
    """`. The other methods: 2 faster, 1 unsupported.`"""
    others = f" The other {'method' if len(records) == 1 else 'methods'}: {_fates(findings, records)}." if records else ""
    yield Part(f".{others}")


def _fates(findings: Findings, records: Sequence[Record]) -> str:
    counts = Counter(_fate(findings, record) for record in records)
    return ", ".join(f"{count} {fate}" for fate, count in counts.items())


def _fate(findings: Findings, record: Record) -> str:
    found = findings.comparisons.get(record.id)
    if record.status != "ok":
        return record.status
    if found is None:
        return "without a ratio"
    if not found.significant:
        return "not distinguishable"
    return "faster" if found.ratio.estimate > 1 else "slower"


def _loses_accuracy(findings: Findings, record: Record) -> bool:
    change = findings.quantity(record, "quality_change")
    return change.value is not None and bool(change.significant) and change.value < 0


def _subject(findings: Findings, place: Place, with_model: bool = False) -> Sentence:
    model = (Part(" of "), Part(place.model, True)) if with_model and len(findings.matrix.labels["model"]) > 1 else ()
    return (Part(place.method, True), *model, Part(" on "), *_where(findings, place))


def _where(findings: Findings, place: Place) -> Sentence:
    """The backend, and whatever else varies in this run."""
    parts = [Part(place.backend, True)]
    varying = findings.matrix.varying(besides=("model", "method", "backend"))
    if "target" in varying:
        parts += [Part(" at "), Part(place.target, True)]
    if "threads" in varying:
        parts.append(Part(f", {place.threads} {'thread' if place.threads == '1' else 'threads'}"))
    if "batch" in varying:
        parts.append(Part(f", batch {place.batch}"))
    return tuple(parts)


def _baseline_parts(record: Record, baseline: Record) -> Sentence:
    """The baseline's method, and each other axis in which it differs from the cell."""
    here, there = place_of(record.axes), place_of(baseline.axes)
    differing = [axis for axis in ("model", "backend", "target") if here.label(axis) != there.label(axis)]
    parts = [Part(there.method, True)]
    for axis in differing:
        parts += [Part(" on "), Part(there.label(axis), True)]
    for axis in ("threads", "batch"):
        if here.label(axis) != there.label(axis):
            parts.append(Part(f" at {axis} {there.label(axis)}"))
    return tuple(parts)


def _times(value: float, low: float | None, high: float | None) -> str:
    text = printed(Scale("×", 1.0), value, low, high)
    return f"{text.value}×" + (f" [{text.low}, {text.high}]" if text.low else "")


def _joined(*parts: Part | Sentence) -> Sentence:
    """One flat sentence."""
    flat: list[Part] = []
    for part in parts:
        if isinstance(part, Part):
            flat.append(part)
        else:
            flat.extend(part)
    return tuple(flat)
