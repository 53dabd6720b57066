"""A cell's history as SVG: a dot a night with its interval, levels and their changes, machines apart. By hand, to be fast for thousands."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from typing import NamedTuple

from markupsafe import Markup

from reports.dots import COLOURS
from reports.findings import Findings, Quantity
from reports.history import METRIC, History, Night, Series, Step, by_newest_step
from reports.page import escape
from reports.rounding import alone, printed, scale_for
from results.record import Record

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640, 170, 62, 26, 24
SPARK_WIDTH, SPARK_HEIGHT = 170, 30
DATE = 105
"""Width of a date on a phone, where letters are larger."""
MAX_LISTED = 60
APART = 2.0
"""Room between two machines, in nights."""


class Changed(NamedTuple):
    """A cell whose level changed, as the page of the run lists it."""

    record: Record
    """What this run left of it."""
    step: Step
    text: str
    line: Markup
    not_measured: str | None
    """`simulated`, `emulated` or `estimated`."""


class ChangedCells(NamedTuple):
    shown: tuple[Changed, ...]
    """Significant ones first, then those that only their own series calls changed; each the newest first."""
    more: int
    cells: int
    """That have a history of more than one night."""
    nights: int
    """Of the longest."""
    moved: tuple[tuple[str, str], ...]
    """(target, date) of every machine that took another's place."""


class _Frame(NamedTuple):
    left: float
    right: float
    top: float
    bottom: float
    low: float
    high: float
    """Least and greatest value that are drawn."""
    step: float
    """Width of a night."""

    def y(self, value: float) -> float:
        if self.high <= self.low:
            return (self.top + self.bottom) / 2
        return self.bottom - (self.bottom - self.top) * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


def plot_of_cell(findings: Findings, record: Record) -> Markup | None:
    """None where the cell was measured in one night only."""
    history = findings.histories.get(record.cell_key)
    return (
        None
        if history is None or history.nights < 2
        else history_plot(history, f"Latency of this cell, {history.origin}, night after night")
    )


def history_plot(history: History, title: str) -> Markup:
    """For the cell's page: every night can be pointed at, changes are told in words."""
    frame = _framed(history, LEFT, WIDTH - 10, TOP, HEIGHT - BOTTOM)
    scale = scale_for(history.unit, METRIC, [frame.high])
    parts = [f'<svg class="nights" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escape(title)}</title>']
    for level in dict.fromkeys((frame.low, frame.high)):
        parts.append(f'<text x="{LEFT - 8}" y="{frame.y(level) + 4:.1f}" text-anchor="end">{printed(scale, level).value}</text>')
    parts.append(f'<text x="{LEFT - 8}" y="{TOP - 12}" text-anchor="end">{escape(scale.unit)}</text>')
    for number, (series, at) in enumerate(_placed(history, frame)):
        parts.append(f'<g class="l{number % COLOURS}">')
        parts.extend(_levels(series, at, frame))
        parts.extend(_night(history, night, x, frame) for night, x in zip(series.nights, at, strict=True))
        parts.append("</g>")
        parts.extend(_notes(series, at, number))
    return Markup("".join((*parts, "</svg>")))  # noqa: S704 - numbers, and escaped texts


def _not_measured(history: History) -> str | None:
    return None if history.origin == "measured" else history.origin


def sparkline(history: History) -> Markup:
    """For a list: the same without words."""
    frame = _framed(history, 3, SPARK_WIDTH - 3, 4, SPARK_HEIGHT - 4)
    parts = [f'<svg class="mini" viewBox="0 0 {SPARK_WIDTH} {SPARK_HEIGHT}" aria-hidden="true">']
    for number, (series, at) in enumerate(_placed(history, frame)):
        points = [(x, n.value) for n, x in zip(series.nights, at, strict=True) if n.value is not None]
        path = "".join(f"M{x:.0f} {frame.y(v):.1f}h0" for x, v in points)
        parts.append(f'<g class="l{number % COLOURS}">{"".join(_levels(series, at, frame))}<path class="dot" d="{path}"/></g>')
    return Markup("".join((*parts, "</svg>")))  # noqa: S704 - numbers only


def step_text(step: Step) -> str:
    """`+10.1% [+9.9, +10.3]`: the new level against the one before."""
    ratio, low, high = (None if end is None else end - 1 for end in step.change[1:])
    return alone(METRIC, Quantity("change", ratio, low, high))


def changed_cells(findings: Findings) -> ChangedCells | None:
    """None where no cell was measured in more than one night."""
    records = {record.cell_key: record for record in findings.matrix.records.values()}
    found = {key: history for key, history in findings.histories.items() if key in records and history.nights > 1}
    if not found:
        return None
    keys = by_newest_step(found)
    shown = [(records[key], step, found[key]) for key in keys[:MAX_LISTED] if (step := found[key].newest) is not None]
    moved = {
        (records[key].axes.target, series.nights[0].started[:10])
        for key, history in found.items()
        for series in history.series[1:]
    }
    return ChangedCells(
        tuple(
            Changed(record, step, step_text(step), sparkline(history), _not_measured(history)) for record, step, history in shown
        ),
        len(keys) - len(shown),
        len(found),
        max(history.nights for history in found.values()),
        tuple(sorted(moved, key=lambda move: move[::-1])),
    )


def _framed(history: History, left: float, right: float, top: float, bottom: float) -> _Frame:
    ends = [end for series in history.series for n in series.nights for end in (n.value, n.low, n.high) if end is not None]
    medians = [n.value for series in history.series for n in series.nights if n.value is not None]
    low, high = min(medians, default=0.0), max(medians, default=0.0)
    room = high - low or 0.05 * high
    steps = history.nights - 1 + APART * (len(history.series) - 1)
    return _Frame(
        left,
        right,
        top,
        bottom,
        max(min(ends, default=0.0), low - room),
        min(max(ends, default=0.0), high + room),
        (right - left) / max(steps, 1.0),
    )


def _placed(history: History, frame: _Frame) -> Iterator[tuple[Series, list[float]]]:
    """Each series with the x of its nights: evenly spaced, for nights are counted, not hours."""
    x = frame.left if history.nights > 1 else (frame.left + frame.right) / 2
    for series in history.series:
        yield series, [x + k * frame.step for k in range(len(series.nights))]
        x += (len(series.nights) + APART) * frame.step


def _levels(series: Series, at: list[float], frame: _Frame) -> Iterator[str]:
    """The median of the nights between two changes, as a line from the first to the last of them."""
    measured = [(x, n.value) for n, x in zip(series.nights, at, strict=True) if n.value is not None]
    edges = [0, *(step.change.at for step in series.steps), len(measured)]
    for start, stop in itertools.pairwise(edges):
        if stop > start:
            y = frame.y(statistics.median(value for _, value in measured[start:stop]))
            yield f'<path class="level" d="M{measured[start][0]:.0f} {y:.1f}H{measured[stop - 1][0]:.0f}"/>'


def _night(history: History, night: Night, x: float, frame: _Frame) -> str:
    if night.value is None:
        text = f"{night.started[:10]}: {night.status}"
        return f'<path class="gap" d="M{x - 3:.1f} {frame.bottom - 3}l6 6m0-6l-6 6"><title>{escape(text)}</title></path>'
    value = alone(METRIC, Quantity(history.unit, night.value, night.low, night.high))
    whisker = ""
    if night.low is not None and night.high is not None:
        whisker = f"M{x:.1f} {frame.y(night.low):.1f}V{frame.y(night.high):.1f}"
    dot = f"M{x:.1f} {frame.y(night.value):.1f}h0"
    title = f"<title>{escape(night.started[:10])}: {escape(value)}</title>"
    return f'<g>{title}<path class="whisker" d="{whisker}"/><path class="dot" d="{dot}"/></g>'


def _notes(series: Series, at: list[float], number: int) -> Iterator[str]:
    """Under each machine the dates of its first and last night, over it that it is another, and every change in words."""
    first, last = min(at[0], WIDTH - DATE), at[-1]
    yield f'<text x="{first:.1f}" y="{HEIGHT - 6}">{escape(series.nights[0].started[:10])}</text>'
    if last - first > 3 * DATE:
        yield f'<text x="{last:.1f}" y="{HEIGHT - 6}" text-anchor="end">{escape(series.nights[-1].started[:10])}</text>'
    if number:
        line = at[0] - 6
        yield f'<path class="machine" d="M{line:.1f} {TOP - 20}V{HEIGHT - BOTTOM}"/>'
        yield f'<text x="{min(line + 4, WIDTH - 1.5 * DATE):.1f}" y="{TOP - 14}">another machine</text>'
    dates = {night.record_id: x for night, x in zip(series.nights, at, strict=True)}
    for step in series.steps:
        x = dates[step.night.record_id] - 3
        anchor = "end" if x > WIDTH / 2 else "start"
        text = f"{step_text(step)}{'' if step.significant else ', possibly'}, {step.night.started[:10]}"
        yield f'<path class="step{"" if step.significant else " maybe"}" d="M{x:.1f} {TOP - 2}V{HEIGHT - BOTTOM}"/>'
        yield f'<text x="{x:.1f}" y="{TOP - 5}" text-anchor="{anchor}">{escape(text)}</text>'
