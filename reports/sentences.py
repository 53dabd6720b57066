"""The answer in words, generated from the records: a difference is stated only where it is significant."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from reports.contests import Contest
from reports.findings import Comparison, Findings, quality_metric
from reports.matrix import AS_IT_WAS, Place, axis_title, place_of
from reports.metrics import title_of
from reports.rounding import Scale, alone, printed
from results.paper import POINT_AXES
from results.record import ORIGINS, Origin, Record

NAMED = 3
"""Winners that the summary names."""


class Source(NamedTuple):
    """Where a number in a sentence comes from."""

    records: str
    """Ids, a space between."""
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    statistic: str = ""
    """`slower`: the inverse is printed; `median`: of several records."""


class Part(NamedTuple):
    text: str
    is_name: bool = False
    """A label of the suite: set apart in print, never mixed up with our own words."""
    source: Source | None = None
    """Of a number."""


Sentence = tuple[Part, ...]


class Answer(NamedTuple):
    """What one model gains, backend by backend."""

    model: str
    sentences: tuple[Sentence, ...]


def answers(findings: Findings, found: Sequence[Contest]) -> tuple[Answer, ...]:
    """One sentence a contest: the fastest method, at what quality, and what became of the rest."""
    groups = itertools.groupby((contest for contest in found if contest.could_run), key=lambda contest: contest.place.model)
    return tuple(Answer(model, tuple(_contest_sentence(findings, contest) for contest in mine)) for model, mine in groups)


def summary(findings: Findings, found: Sequence[Contest]) -> tuple[Sentence, ...]:
    """Which methods win, in how many of several contests, and by how much; by itself for each way the times came about."""
    held = [(_origin(findings, contest), contest) for contest in found if contest.could_run]
    each = {origin: [contest for its, contest in held if its == origin] for origin in ORIGINS}
    return tuple(_summed(findings, origin, contests) for origin, contests in each.items() if len(contests) > 1)


def _origin(findings: Findings, contest: Contest) -> Origin | None:
    """None where its cells are ok and have no times."""
    ok = [findings.quantity(record, "latency") for record in contest.records if record.status == "ok"]
    return next((latency.origin for latency in ok if latency.value is not None), None if ok else "measured")


def _summed(findings: Findings, origin: Origin, found: Sequence[Contest]) -> Sentence:
    wins: dict[str, list[Record]] = {}
    for contest in found:
        if contest.keeping is not None:
            wins.setdefault(contest.keeping.axes.method, []).append(contest.keeping)
    places = f"{len(found)} combinations of {_among(findings)}"
    by = "" if origin == "measured" else f"By {origin} times: "
    if not wins:
        return (Part(f"{by}{'i' if by else 'I'}n none of the {places} is a method faster without a measurable loss of quality."),)
    ordered = sorted(wins.items(), key=lambda item: -len(item[1]))
    parts = [Part(f"{by}{'t' if by else 'T'}he fastest without a measurable loss of quality: ")]
    for index, (method, winners) in enumerate(ordered[:NAMED]):
        gain = statistics.median(findings.comparisons[record.id].ratio.estimate for record in winners)
        source = Source(" ".join(record.id for record in winners), "speedup", gain, statistic="median")
        where = f" in {len(winners)} of {places}" if not index else f" in {len(winners)}"
        parts += [Part("; ")] * bool(index) + [Part(method, True), Part(f"{where} ({'' if len(winners) == 1 else 'typically '}")]
        parts += [Part(_times(gain), source=source), Part(" faster)")]
    rest, none = sum(len(gains) for _, gains in ordered[NAMED:]), len(found) - sum(map(len, wins.values()))
    parts += [Part(f"; others in {rest}")] * bool(rest) + [Part(f"; in {none} there is none")] * bool(none)
    return (*parts, Part("."))


def trust(findings: Findings) -> tuple[Sentence, ...]:
    """What a reader must know before believing a number: what was not measured, what is noisy, what gave no number."""
    cells = {place: record for place, record in findings.matrix.records.items() if record.status == "ok"}
    everywhere = {place: findings.quantity(record, "latency") for place, record in cells.items()}
    latency = {place: quantity for place, quantity in everywhere.items() if quantity.value is not None}
    sentences: list[Sentence] = []
    if counting := dict.fromkeys(place.target for place, record in cells.items() if _counted(findings, record) is not None):
        sentences.append(_joined(Part("No times of "), _listed(tuple(counting)), Part(": instructions are counted there.")))
    for origin in ("emulated", "simulated", "estimated"):
        targets = dict.fromkeys(place.target for place, quantity in latency.items() if quantity.origin == origin)
        if targets:
            sentences.append(
                (
                    Part("The times of "),
                    *_listed(tuple(targets)),
                    Part(f" are {origin}: compared with nothing that was measured."),
                )
            )
    noisy = Counter(
        place.target for place, quantity in latency.items() if any("unstable" in remark for remark in quantity.remarks)
    )
    if noisy:
        (worst, most), *_ = noisy.most_common(1)
        all_of_them, share = len(latency), "all" if most == noisy.total() else f"{most:,} of them"
        be = "is" if noisy.total() == 1 else "are"
        many = f"All {all_of_them:,} cells" if noisy.total() == all_of_them else f"{noisy.total():,} of {all_of_them:,} cells"
        where = (Part(f", {share} on "), Part(worst, True)) if len(findings.matrix.labels["target"]) > 1 else ()
        sentences.append(
            _joined(Part(f"{many} {be} noisier than a measurement should be"), where, Part(": their notes say how."))
        )
    if not any(quantity.low is not None for quantity in latency.values()) and latency:
        sentences.append((Part("No time has an interval: that takes at least two process launches of each cell."),))
    return tuple(sentences)


def cell_sentence(findings: Findings, record: Record) -> Sentence:
    """What one cell says, in one sentence."""
    return _joined(_subject(findings, place_of(record.axes)), *_verdict(findings, record), Part("."))


def claims_sentences(findings: Findings) -> tuple[Sentence, ...]:
    """What came of the claims of fewer multiply-accumulates, and where the gap is widest; by itself for each way the times came about."""
    claiming: dict[Origin, list[tuple[float, Comparison, Record]]] = {origin: [] for origin in ORIGINS}
    for record in findings.matrix.records.values():
        found = findings.comparisons.get(record.id)
        claim = findings.quantity(record, "claimed_speedup").value if found else None
        if found is not None and claim is not None and claim > 1.0:
            claiming[findings.quantity(record, "latency").origin or "measured"].append((claim, found, record))
    told = (_fulfilled(findings, origin, claims) for origin, claims in claiming.items() if claims)
    return tuple(itertools.chain.from_iterable(told))


def _fulfilled(findings: Findings, origin: Origin, claiming: Sequence[tuple[float, Comparison, Record]]) -> tuple[Sentence, ...]:
    gains = [(claim, found.ratio) for claim, found, _ in claiming if found.significant and found.ratio.estimate > 1]
    faster, reached = len(gains), sum(ratio.high is not None and ratio.high >= claim for claim, ratio in gains)
    by = "" if origin == "measured" else f"By {origin} times: "
    summary = (
        f"{by}{len(claiming):,} {'cell claims' if len(claiming) == 1 else 'cells claim'} fewer multiply-accumulates than the baseline; "
        f"{_count(faster)} {'is' if faster == 1 else 'are'} really faster, {_count(reached)} "
        f"{'reaches' if reached == 1 else 'reach'} what is claimed."
    )
    claim, found, record = max(claiming, key=lambda item: item[0] / item[1].ratio.estimate)
    widest = (
        Part(f"{by}the widest gap: " if by else "The widest gap: "),
        *_subject(findings, place_of(record.axes), with_model=True),
        Part(" claims "),
        Part(_times(claim), source=Source(record.id, "claimed_speedup", claim)),
        Part(", and gives "),
        _number(findings, record, "speedup"),
        Part("." if found.significant else ", which cannot be told from 1."),
    )
    return (Part(summary),), widest


def _contest_sentence(findings: Findings, contest: Contest) -> Sentence:
    where = _where(findings, contest.place)
    best, keeping = contest.fastest, contest.keeping
    counted = [(count, record) for record in contest.records if (count := _counted(findings, record)) is not None]
    if best is None and counted:
        fewest = min(counted, key=lambda item: item[0])[1]
        rest = [record for record in contest.records if _counted(findings, record) is None]
        return _joined(
            Part("On "),
            *where,
            Part(", fewest instructions: "),
            Part(fewest.axes.method, True),
            *_verdict(findings, fewest),
            *_rest(findings, rest),
        )
    if best is None:
        verdict = f": no method is distinguishably faster than the baseline: {_fates(findings, contest.records)}."
        return _joined(Part("On "), *where, Part(verdict))
    parts = [Part("On "), *where, Part(": "), Part(best.axes.method, True), *_verdict(findings, best)]
    if keeping is None:
        parts.append(Part(f"; no faster method keeps {title_of(quality_metric(best))}"))
    elif keeping is not best:
        name = title_of(quality_metric(keeping))
        parts += [Part(f"; the fastest that keeps {name}: "), Part(keeping.axes.method, True), *_verdict(findings, keeping)]
    told = {best.id, keeping.id if keeping else best.id}
    return _joined(*parts, *_rest(findings, [r for r in contest.records if r.id not in told]))


def _verdict(findings: Findings, record: Record) -> Iterator[Part]:
    """` is 3.21× [3.10, 3.33] faster than float32, at −0.3 points of top-1`."""
    if record.status != "ok":
        reason = " ".join((record.reason or "no reason was recorded").split()).rstrip(".")
        yield Part(f" is {record.status}: {reason}")
        return
    if (count := _counted(findings, record)) is not None:
        base = findings.matrix.records.get(findings.matrix.baseline(place_of(record.axes)) or place_of(record.axes), record)
        most = _counted(findings, base)
        yield Part(" executes ")
        yield Part(f"{count:,.0f}", source=Source(record.id, "instructions", count))
        yield Part(" instructions")
        if base is not record and most is not None:
            yield from (Part(", the baseline "), Part(f"{most:,.0f}", source=Source(base.id, "instructions", most)))
        yield from _accuracy(findings, record)
        return
    if findings.is_baseline(record):
        yield Part(" is the baseline: ")
        yield _number(findings, record, "latency", "without a latency")
        return
    found = findings.comparisons.get(record.id)
    if found is None:
        yield Part(" takes ")
        yield _number(findings, record, "latency", "an unknown time")
        yield Part(f" (no ratio: {findings.quantity(record, 'speedup').missing})")
        return
    yield from _speed(record, found, _baseline_parts(record, found.baseline))
    origin = findings.quantity(record, "latency").origin
    if origin != "measured":
        yield Part(f" ({origin} times)")
    yield from _accuracy(findings, record)


def _counted(findings: Findings, record: Record) -> float | None:
    """The instructions of a cell that has them in place of a time."""
    has_time = record.status != "ok" or findings.quantity(record, "latency").value is not None
    return None if has_time else findings.quantity(record, "instructions").value


def _speed(record: Record, found: Comparison, baseline: Sequence[Part]) -> Iterator[Part]:
    estimate, low, high = found.ratio.estimate, found.ratio.low, found.ratio.high
    source = Source(record.id, "speedup", estimate, low, high)
    if not found.significant:
        yield Part(" is not distinguishable in speed from ")
        yield from baseline
        yield from (Part(" ("), Part(_times(estimate, low, high), source=source), Part(")"))
    elif estimate > 1:
        yield from (Part(" is "), Part(_times(estimate, low, high), source=source), Part(" faster than "))
        yield from baseline
    else:
        slower = _times(1 / estimate, 1 / high if high else None, 1 / low if low else None)
        yield from (Part(" is "), Part(slower, source=source._replace(statistic="slower")), Part(" slower than "))
        yield from baseline


def _accuracy(findings: Findings, record: Record) -> Iterator[Part]:
    change, name = findings.quantity(record, "quality_change"), title_of(quality_metric(record))
    if change.value is None:
        return
    if change.significant:
        yield from (Part(", at "), _number(findings, record, "quality_change"), Part(f" of {name}"))
    elif change.value == 0:
        yield Part(f", {name} unchanged")
    else:
        yield from (Part(f", {name} not distinguishable ("), _number(findings, record, "quality_change"), Part(")"))


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
    told = [axis for axis in POINT_AXES if axis != "threads" and axis in varying and place.label(axis) != AS_IT_WAS.get(axis)]
    parts += [Part(f", {place.spoken(axis)}") for axis in told]
    return tuple(parts)


def _baseline_parts(record: Record, baseline: Record) -> Sentence:
    """The baseline's method, and each other axis in which it differs from the cell."""
    here, there = place_of(record.axes), place_of(baseline.axes)
    differing = [axis for axis in ("model", "backend", "target") if here.label(axis) != there.label(axis)]
    parts = [Part(there.method, True)]
    for axis in differing:
        parts += [Part(" on "), Part(there.label(axis), True)]
    parts += [Part(f" at {there.spoken(axis)}") for axis in POINT_AXES if here.label(axis) != there.label(axis)]
    return tuple(parts)


def _number(findings: Findings, record: Record, metric: str, otherwise: str = "") -> Part:
    quantity = findings.quantity(record, metric)
    if quantity.value is None:
        return Part(otherwise)
    return Part(alone(metric, quantity), source=Source(record.id, metric, quantity.value, quantity.low, quantity.high))


def _times(value: float, low: float | None = None, high: float | None = None) -> str:
    text = printed(Scale("×", 1.0), value, low, high)
    return f"{text.value}×" + (f" [{text.low}, {text.high}]" if text.low else "")


def _listed(names: Sequence[str]) -> Sentence:
    """`a, b and c`."""
    parts = []
    for index, name in enumerate(names):
        between = "" if not index else " and " if index == len(names) - 1 else ", "
        parts += [Part(between)] * bool(between) + [Part(name, True)]
    return tuple(parts)


def _count(number: int) -> str:
    return f"{number:,}" if number else "none"


def _among(findings: Findings) -> str:
    """`model, backend and target`: the axes, besides the method, of which there is more than one label."""
    names = tuple(map(axis_title, findings.matrix.varying(besides=("method",))))
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else "cells"


def _joined(*parts: Part | Sentence) -> Sentence:
    """One flat sentence."""
    flat: list[Part] = []
    for part in parts:
        if isinstance(part, Part):
            flat.append(part)
        else:
            flat.extend(part)
    return tuple(flat)
