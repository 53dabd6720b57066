"""The page of a cell: everything about one number, and how to get it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from reports.dots import is_thinned, sample_dots
from reports.energy import FLAGS, flag_words
from reports.findings import Findings, Quantity, noise_floor, tier_of, timed_values
from reports.history_plot import plot_of_cell
from reports.launches import launch_table
from reports.layers import profiled
from reports.matrix import AS_IT_WAS, AXES, Place, axis_title, place_of
from reports.metrics import title_of
from reports.page import MEANINGS, templates, traced
from reports.power_plot import power_plot
from reports.rounding import alone, scale_for
from reports.sentences import cell_sentence
from reports.time_plot import time_plot
from reports.tree import json_tree, listed, section
from results import stats
from results.printable import printable
from results.quality import QUALITIES
from results.record import Measurement, Record, Samples
from results.sustained import pace

PERCENTILES = (90, 99)
MIN_DOTS = 8
"""Fewer samples are listed, not drawn."""
MAX_DOWNLOADS = 400
MAX_DOWNLOADED = 1_000_000
"""A report of more cells, or of more samples (traces of fast meters), has no file of raw samples beside each page: `assay show` prints it."""
NOISE: Mapping[str, str] = {
    stats.WIDE: "single samples scatter; the interval, which is over launches, holds all the same",
    stats.FAR: "something interrupted the network now and then",
    stats.OUTLIERS: "a few samples stand far from all others: another program, an interrupt",
    stats.TAILS: "the samples do not gather around one value: the machine has more than one speed",
    stats.SLOW_START: "the network was not yet at its pace when timing began; a longer `warmup_s` mends it",
    stats.DISAGREE: "processes differ more than samples within one; more `launches` make the interval narrower",
    stats.SHORT: "near the clock's own error; a larger `min_sample_s` repeats the network within a sample",
    "warmup_capped": "warm-up ended by its time limit before the samples were steady",
    "major_faults": "pages were read from disk while samples were taken; memory was short",
    "throttled": "the device lowered its clock to cool down while samples were taken",
    **FLAGS,
}
"""What each noise flag means, and what mends it."""
TRACES = ("temperature_trace", "clock_trace", "residency_trace")
KEPT = "Every sample in the order taken, from the least to the greatest where they lie close; the scale does not begin at 0."
PASSED_BY = ("rule", "passed", "reason")


class Reading(NamedTuple):
    """One measurement, as the page shows it."""

    title: str
    text: Markup | None
    missing: str | None
    facts: tuple[tuple[str, Any], ...]
    remarks: tuple[str, ...] = ()
    noise: tuple[tuple[str, str], ...] = ()
    """Each flag with its meaning."""
    plot: Markup | None = None
    thinned: bool = False
    is_power: bool = False
    """The plot is of power over time, and there is no number."""
    over_time: str = ""
    """What a plot over time of a long launch shows; empty for any other."""


class Made(NamedTuple):
    """A step that made the artifact."""

    title: str
    seconds: str
    key: str


def cell_page(findings: Findings, record: Record) -> str:
    place, provenance = place_of(record.axes), record.provenance
    identity = {
        "record": record.id,
        "run": record.run_id,
        "cell key": record.cell_key,
        "input hash": record.input_hash,
        "machine key": record.machine_key or "none: it never reached a device",
        "record sha256": findings.sha256[record.id],
    }
    return (
        templates()
        .get_template("cell.html.j2")
        .render(
            record=record,
            suite=findings.run.suite,
            place=place,
            axes=[*_place(place), *_clock(record), *_noise(record)],
            sentence_parts=cell_sentence(findings, record),
            meaning=MEANINGS[record.status],
            logs=list(_logs(provenance)),
            claims=list(_claims(findings, record)),
            readings=[_reading(findings, record, measurement) for measurement in record.measurements],
            history=plot_of_cell(findings, record),
            operators=profiled(record),
            launches=launch_table(record),
            checked=list(_checked(record)),
            made=list(_made(provenance)),
            identity=identity,
            provenance=[(name, json_tree(value)) for name, value in provenance.items()],
            rerun=rerun(record),
            edited=section(provenance, "who", "git").get("dirty") is True,
            commit=section(provenance, "who", "git").get("commit"),
            has_download=has_downloads(findings),
        )
    )


def has_downloads(findings: Findings) -> bool:
    """Whether each cell's page has its raw samples beside it."""
    records = findings.matrix.records
    if len(records) > MAX_DOWNLOADS:
        return False
    return sum(len(m.samples) for r in records.values() for m in r.measurements if m.samples is not None) <= MAX_DOWNLOADED


def rerun(record: Record) -> str | None:
    """The command that measures this cell alone again: the one its run was started with, narrowed to it."""
    words = iter([str(word) for word in listed(section(record.provenance, "who").get("command"))][1:])
    kept = []
    for word in words:
        if word == "--only":
            next(words, None)
        elif word != "--fresh" and not word.startswith("--only="):
            kept.append(word)
    if kept[:1] != ["run"]:
        return None
    return shlex.join(["assay", *kept, "--only", record.cell_key[:12], "--fresh"])


def _logs(provenance: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was printed by the step that failed, under its name."""
    logs = section(provenance, "logs")
    for name, text in logs.items():
        if name != "step" and isinstance(text, str) and text:
            yield str(logs.get("step", name)) if name == "tail" else str(name), text


def _claims(findings: Findings, record: Record) -> Iterator[tuple[str, Any]]:
    """Claims as the method states them, and their ratio to the baseline's where the cell is ok."""
    for name, value in record.claims.items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        yield title_of(name), traced(f"{value:,}", record.id, name, float(value)) if is_number else str(value)
    for name in ("claimed_speedup", "claimed_size_ratio") if record.status == "ok" else ():
        quantity = findings.quantity(record, name)
        if quantity.value is not None:
            yield title_of(name), traced(alone(name, quantity), record.id, name, quantity.value)


def _place(place: Place) -> Iterator[tuple[str, str]]:
    yield from ((axis_title(axis), label) for axis, label in zip(AXES, place, strict=True) if AS_IT_WAS.get(axis) != label)


def _clock(record: Record) -> Iterator[tuple[str, str]]:
    """How far the clock was under control, at what, and why no further."""
    control = section(record.provenance, "device", "control")
    if tier_of(record):
        held = ", ".join(
            f"{policy} at {hz / 1e9:g} GHz" for policy, hz in section(control, "held_hz").items() if isinstance(hz, int)
        )
        reason = control.get("reason")
        yield "clock control", printable(tier_of(record) + (f": {held}" if held else "") + (f" ({reason})" if reason else ""))


def _noise(record: Record) -> Iterator[tuple[str, str]]:
    """What identical programs may differ by on the machine: smaller differences are not called real."""
    if not record.machine_key:
        return
    noise, floor = section(record.provenance, "device", "noise"), noise_floor(record)
    if floor is None:
        yield "noise floor", f"not known: `assay doctor {printable(record.axes.target)}` takes it"
    else:
        yield (
            "noise floor",
            f"{100 * floor:.2g} %, by an A/A of {noise.get('pairs')} pairs of launches ({printable(str(noise.get('taken')))[:10]})",
        )


def _checked(record: Record) -> Iterator[tuple[str, str]]:
    """How the device's answers compare with the compressed network's own, and by which rule they are right."""
    check = section(record.provenance, "check")
    if not check:
        return
    names = {"max_abs_error": "largest error", "relative_error": "over the largest magnitude", "sqnr_db": "signal to noise, dB"}
    yield "rule", str(check.get("rule"))
    yield "passed", "yes" if check.get("passed") is True else f"no: {check.get('reason')}"
    for name, value in check.items():
        if name not in PASSED_BY and value is not None:
            text = f"{value:.3g}" if isinstance(value, float) else str(value)
            yield names.get(name, name.replace("_", " ")), text


def _made(provenance: Mapping[str, Any]) -> Iterator[Made]:
    for step in listed(section(provenance, "model").get("steps")):
        facts = section(step)
        seconds = facts.get("duration_s")
        text = alone("duration", Quantity("s", seconds)) if isinstance(seconds, (int, float)) else "–"
        yield Made(str(facts.get("title", facts.get("kind"))), text, str(facts.get("key", ""))[:12])


def _reading(findings: Findings, record: Record, measurement: Measurement) -> Reading:
    samples, metric = measurement.samples, measurement.metric
    title = title_of(metric)
    if record.status != "ok":
        return Reading(title, None, f"not shown: the cell is {record.status}", tuple(_facts(record, measurement, None)))
    quantity = findings.quantity(record, metric)
    if samples is None or quantity.value is None:
        return Reading(title, None, quantity.missing, tuple(_facts(record, measurement, None)))
    without_number = Reading(title, None, None, tuple(_facts(record, measurement, None)), quantity.remarks)
    if metric == "power_trace":
        return without_number._replace(plot=power_plot(samples, title), is_power=True)
    if metric in TRACES:
        names = [printable(str(name)) for name in listed(section(record.provenance, "sustained").get(metric))]
        over_time = _named(names)
        return without_number._replace(plot=time_plot(samples, measurement.unit, metric, title, names), over_time=over_time)
    kept = pace(samples) if metric == "sustained_latency" else None
    plot = None
    if kept is not None:
        plot = time_plot(samples, measurement.unit, metric, title, knee_s=kept.knee_s)
    elif len(timed_values(samples)) >= MIN_DOTS and measurement.unit != "1":
        scale = scale_for(measurement.unit, metric, [quantity.value])
        plot = sample_dots(samples, scale, quantity.value, f"{title} in {scale.unit}, every sample in the order taken")
    flags = dict.fromkeys((*map(flag_words, measurement.flags), *(stats.unstable(samples) if measurement.unit == "s" else ())))
    return Reading(
        title,
        traced(alone(metric, quantity), record.id, metric, quantity.value, quantity.low, quantity.high),
        None,
        tuple(_facts(record, measurement, quantity)),
        tuple(remark for remark in quantity.remarks if not remark.startswith("unstable: ")),
        tuple((flag, NOISE.get(flag, "a flag that this Assay does not know")) for flag in flags),
        plot,
        plot is not None and is_thinned(samples),
        over_time="" if kept is None else KEPT,
    )


def _named(names: Sequence[str]) -> str:
    return f"Each reading while the device looped, a line a sensor ({', '.join(names)})."


def _pace(metric: str, samples: Samples) -> Iterator[tuple[str, Any]]:
    """Of a long launch: what is left of the best speed, and since when."""
    found = pace(samples) if metric == "sustained_latency" else None
    if found is None:
        return
    yield "peak", alone(metric, Quantity("s", found.peak_s))
    yield "sustained", alone(metric, Quantity("s", found.sustained_s))
    yield "speed kept", f"{100 * found.kept:.1f} % (the last quarter against the fastest {3 * found.window_s:.3g} s)"
    yield "knee", "none: it never became slower for good by 2 %" if found.knee_s is None else f"after {found.knee_s:.3g} s"


def _facts(record: Record, measurement: Measurement, quantity: Quantity | None) -> Iterator[tuple[str, Any]]:
    yield "how", measurement.method
    yield "origin", measurement.origin
    if measurement.clock:
        yield "clock", measurement.clock
    if measurement.derived_from:
        yield "derived from", ", ".join(map(title_of, measurement.derived_from))
    samples, metric, unit = measurement.samples, measurement.metric, measurement.unit
    if quantity is None or samples is None:
        return
    timed = int(samples.timed.sum())
    launches = len(np.unique(samples.launch))
    if metric in QUALITIES:
        yield "examples", f"{timed:,}"
    elif timed > 1:
        warm = len(samples) - timed
        yield "samples", f"{timed:,} in {launches} {'launch' if launches == 1 else 'launches'}, {warm:,} for warm-up"
        if timed < MIN_DOTS:
            values: Sequence[float] = timed_values(samples).tolist()
            yield "each", ", ".join(alone(metric, Quantity(unit, value)) for value in values)
    if unit == "1" and metric not in QUALITIES:
        least, most = timed_values(samples).min(), timed_values(samples).max()
        yield "counted", f"{least:,.0f} in every sample" if least == most else f"{least:,.0f} to {most:,.0f}"
    yield from _pace(metric, samples)
    if quantity.interval_method:
        yield "interval", quantity.interval_method
    for share in PERCENTILES if unit == "s" else ():
        value = stats.percentile(samples, share)
        if value is not None:
            yield f"p{share:g}", traced(alone(metric, Quantity(unit, value)), record.id, metric, value, statistic=f"p{share:g}")
