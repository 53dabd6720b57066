"""The page of a run and the page of a cell: self-contained HTML without a script or an external request."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup, escape

from reports import figures
from reports.dots import is_thinned, sample_dots
from reports.findings import Findings, Quantity, timed_values
from reports.heat import heat
from reports.matrix import AXES, place_of
from reports.metrics import METRICS, title_of
from reports.rounding import alone, scale_for
from reports.sentences import answers, cell_sentence, claims_sentences
from reports.table import Table, shortened
from reports.tree import json_tree
from results import stats
from results.record import STATUSES, Measurement, Record

MEANINGS: Mapping[str, str] = {
    "ok": "ran, and its answers are right",
    "unsupported": "this backend cannot run this network; nothing went wrong",
    "wrong": "ran, but its answers are not the compressed network's own, so no number of it counts",
    "failed": "training, compressing, building or running ended with an error",
    "unreachable": "the device did not answer",
    "invalid": "measured under conditions that void it",
}
SETTINGS: Mapping[str, str] = {
    "launches": "process launches of each cell",
    "warmup_samples": "least samples for warm-up",
    "warmup_s": "least seconds of warm-up",
    "min_samples": "least samples of a launch",
    "min_s": "least seconds of a launch",
    "min_sample_s": "least seconds of a sample",
    "max_launch_s": "most seconds of a launch",
    "check_inputs": "answers checked before timing",
    "evaluation_size": "test examples for accuracy",
}
"""How a suite's sampling settings are called on the page."""
PERCENTILES = (90, 99)
MIN_DOTS = 8
"""Fewer samples are listed, not drawn."""
LINKS_SHOWN = 12
"""Cells that one line of \"what was not ok\" links to by name; the line says how many more there are."""


class Trouble(NamedTuple):
    """Cells that share a status and a reason."""

    status: str
    reason: str
    shown: tuple[Record, ...]
    more: int


class Drawing(NamedTuple):
    title: str
    sentence: str
    svg: Markup | None
    file: str | None


class Reading(NamedTuple):
    """One measurement of one cell, as its page shows it."""

    title: str
    text: str
    missing: str | None
    facts: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    plot: Markup | None
    thinned: bool


def index_page(findings: Findings, tables: Sequence[Table], papers: Sequence[Table], drawings: Sequence[figures.Figure]) -> str:
    """The page of a run. `tables`: one a model; `papers`: those the suite asks for."""
    matrix = findings.matrix
    counts = Counter(record.status for record in matrix.records.values())
    document = findings.run.document
    return (
        _templates()
        .get_template("index.html.j2")
        .render(
            run=findings.run,
            about=document.get("about", ""),
            document=document,
            answers=answers(findings),
            claims=claims_sentences(findings),
            counts=[(status, counts[status], MEANINGS[status]) for status in STATUSES if counts[status]],
            total=len(matrix.records),
            troubles=_troubles(findings),
            heat=heat(findings),
            drawings=[_drawing(figure, number) for number, figure in enumerate(drawings)],
            tables=tables,
            papers=papers,
            legend=[(metric.title, metric.meaning) for metric in METRICS.values() if metric.meaning],
            baseline=[(axis, str(label)) for axis, label in dict(document.get("baseline") or {}).items()],
            sampling=_plain(document.get("sampling", {})),
            data=json_tree(document.get("data", {})),
            environment=json_tree(findings.run.environment),
            machines=_machines(findings),
            minimum_effect=f"{100 * stats.MINIMUM_EFFECT:g} %",
            reused=sum(record.run_id != findings.run.id for record in matrix.records.values()),
        )
    )


def cell_page(findings: Findings, record: Record) -> str:
    place = place_of(record.axes)
    facts = {
        "record": record.id,
        "run": record.run_id,
        "cell key": record.cell_key,
        "input hash": record.input_hash,
        "machine key": record.machine_key,
        "record sha256": findings.sha256[record.id],
    }
    return (
        _templates()
        .get_template("cell.html.j2")
        .render(
            record=record,
            suite=findings.run.suite,
            place=place,
            axes=[(axis, place.label(axis)) for axis in AXES],
            sentence_parts=cell_sentence(findings, record),
            meaning=MEANINGS[record.status],
            claims=_claims(findings, record),
            readings=[_reading(findings, record, measurement) for measurement in record.measurements],
            hashes=facts,
            provenance=[(name, json_tree(section)) for name, section in record.provenance.items()],
        )
    )


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["breakable"] = breakable
    environment.globals["place_of"] = place_of
    return environment


def breakable(label: str) -> Markup:
    """A label that may be broken after its punctuation, where a reader would break it."""
    return Markup(re.sub(r"([(_,/])", r"\1<wbr>", str(escape(label))))  # noqa: S704 - escaped before the marks are put in


def _troubles(findings: Findings) -> list[Trouble]:
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in findings.matrix.records.values():
        if record.status != "ok":
            reason = shortened(record.reason or record.error_class or "no reason was recorded")
            groups.setdefault((record.status, reason), []).append(record)
    ordered = sorted(groups.items(), key=lambda item: STATUSES.index(item[1][0].status), reverse=True)
    return [Trouble(*key, tuple(found[:LINKS_SHOWN]), max(0, len(found) - LINKS_SHOWN)) for key, found in ordered]


def _drawing(figure: figures.Figure, number: int) -> Drawing:
    if figure.svg is None:
        return Drawing(figure.title, figure.sentence, None, None)
    svg = Markup(figures.inline(figure.svg, f"f{number}"))  # noqa: S704 - the SVG writer escapes every label (tested)
    return Drawing(figure.title, figure.sentence, svg, f"figures/{figure.name}.svg")


def _machines(findings: Findings) -> list[tuple[str, tuple[str, ...], Markup]]:
    """(machine key, targets, facts) of every machine that left a record."""
    found: dict[str, tuple[dict[str, None], Any]] = {}
    for place, record in findings.matrix.records.items():
        if record.machine_key:
            targets, _ = found.setdefault(record.machine_key, ({}, record.provenance.get("device", {})))
            targets[place.target] = None
    return [(key, tuple(targets), json_tree(device)) for key, (targets, device) in found.items()]


def _claims(findings: Findings, record: Record) -> list[tuple[str, str]]:
    """Claims as the method states them, and their ratio to the baseline's where the cell is ok."""
    claimed = [
        (title_of(name), f"{value:,}" if isinstance(value, (int, float)) else str(value)) for name, value in record.claims.items()
    ]
    if record.status != "ok":
        return claimed
    ratios = [
        (title_of(name), alone(name, findings.quantity(record, name))) for name in ("claimed_speedup", "claimed_size_ratio")
    ]
    return claimed + [(title, text) for title, text in ratios if text]


def _plain(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (SETTINGS.get(name, name.replace("_", " ")), "all" if value is None else str(value)) for name, value in settings.items()
    ]


def _reading(findings: Findings, record: Record, measurement: Measurement) -> Reading:
    samples = measurement.samples
    title = title_of(measurement.metric)
    if record.status != "ok":
        return Reading(title, "", f"not shown: the cell is {record.status}", tuple(_facts(measurement, None)), (), None, False)
    quantity = findings.quantity(record, measurement.metric)
    if samples is None or quantity.value is None:
        return Reading(title, "", quantity.missing, tuple(_facts(measurement, None)), (), None, False)
    values = timed_values(samples)
    plot = None
    if len(values) >= MIN_DOTS and measurement.unit != "1":
        scale = scale_for(measurement.unit, measurement.metric, [quantity.value])
        label = f"{title} in {scale.unit}, every sample in the order taken"
        plot = sample_dots(samples, scale, quantity.value, label)
    facts = tuple(_facts(measurement, quantity))
    text = alone(measurement.metric, quantity)
    return Reading(title, text, None, facts, quantity.remarks, plot, plot is not None and is_thinned(samples))


def _facts(measurement: Measurement, quantity: Quantity | None) -> Iterator[tuple[str, str]]:
    yield "how", measurement.method
    yield "origin", measurement.origin
    if measurement.clock:
        yield "clock", measurement.clock
    if measurement.derived_from:
        yield "derived from", ", ".join(map(title_of, measurement.derived_from))
    samples = measurement.samples
    if quantity is None or samples is None:
        return
    timed = int(samples.timed.sum())
    launches = len(np.unique(samples.launch))
    if measurement.unit == "1":
        yield "examples", f"{timed:,}"
    elif timed > 1:
        warm = len(samples) - timed
        yield "samples", f"{timed:,} in {launches} {'launch' if launches == 1 else 'launches'}, {warm:,} for warm-up"
        if timed < MIN_DOTS:
            yield (
                "each",
                ", ".join(alone(measurement.metric, Quantity(measurement.unit, v)) for v in timed_values(samples).tolist()),
            )
    if quantity.interval_method:
        yield "interval", quantity.interval_method
    if measurement.unit == "s":
        for share in PERCENTILES:
            value = stats.percentile(samples, share)
            if value is not None:
                yield f"p{share:g}", alone(measurement.metric, Quantity(measurement.unit, value))
