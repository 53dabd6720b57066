"""Strengths swept: what the one number of a method does, as lines small enough to stand in a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from markupsafe import Markup

from reports.findings import Findings
from reports.metrics import title_of
from reports.page import escape
from reports.strength import strengths
from reports.table import Entry, Table

WIDTH, HEIGHT, MARGIN = 132, 34, 4
LEAST = 3
"""Strengths that make a line."""
METRICS = ("speedup", "quality_change", "artifact_size")


BASELINE: Mapping[str, float] = {"speedup": 1.0, "quality_change": 0.0}

Members = dict[float, dict[str, Entry]]
"""strength -> metric -> what a table says of it, where that can be drawn."""


class Frame(NamedTuple):
    low: float
    high: float


class Line(NamedTuple):
    """One metric over the strengths of a family."""

    metric: str
    svg: Markup
    first: str
    last: str
    unit: str
    """The ends as text, and what they are printed in."""


class Sweep(NamedTuple):
    """One family of methods on one backend."""

    labels: tuple[str, ...]
    """As in the table's rows, the family in place of the method."""
    parameter: str
    first: str
    last: str
    """The least and the greatest strength."""
    lines: tuple[Line | None, ...]
    """One for each of METRICS; None where it was not measured."""


def sweeps(findings: Findings, table: Table) -> tuple[Sweep, ...]:
    """Of a table whose last row axis is the method. Lines of one metric share their vertical scale, so that families can be compared."""
    known = strengths(findings.matrix.labels["method"], dict(findings.run.document.get("defaults") or {}))
    families: dict[tuple[str, ...], Members] = {}
    for row in table.rows:
        strength = known[row.labels[-1]]
        if strength.value is not None:
            numbers = {entry.metric: entry for entry in row.entries if entry.metric in METRICS and _can_be_drawn(entry)}
            families.setdefault((*row.labels[:-1], strength.family, strength.parameter), {})[strength.value] = numbers
    families = {key: dict(sorted(members.items())) for key, members in families.items() if len(members) >= LEAST}
    units = {column.metric: column.unit for column in table.columns}
    frames = {metric: _frame(metric, families.values()) for metric in METRICS}
    found = []
    for (*labels, parameter), members in families.items():
        lines = []
        for metric in METRICS:
            points = {x: numbers[metric] for x, numbers in members.items() if metric in numbers}
            title = f"{title_of(metric)} of {labels[-1]} by {parameter}"
            lines.append(
                _line(metric, title, points, (min(members), max(members)), frames[metric], units[metric]) if points else None
            )
        found.append(Sweep(tuple(labels), parameter, f"{min(members):g}", f"{max(members):g}", tuple(lines)))
    return tuple(found)


def _height(metric: str, value: float) -> float:
    """Where a value stands: ratios and sizes by their logarithm, changes as they are."""
    return value if metric == "quality_change" else math.log(value)


def _can_be_drawn(entry: Entry) -> bool:
    return entry.value is not None and math.isfinite(entry.value) and (entry.metric == "quality_change" or entry.value > 0)


def _frame(metric: str, families: Iterable[Members]) -> Frame:
    """The least and the greatest height of a metric, the baseline's included."""
    heights = [
        _height(metric, e.value)
        for members in families
        for numbers in members.values()
        for e in [numbers.get(metric)]
        if e is not None and e.value is not None
    ]
    heights += [_height(metric, BASELINE[metric])] if metric in BASELINE else []
    return Frame(min(heights, default=0.0), max(heights, default=0.0))


def _line(metric: str, title: str, points: Mapping[float, Entry], ends: tuple[float, float], frame: Frame, unit: str) -> Line:
    """A dot a strength, a line from each to the next; hairline where the baseline stands."""

    def x(strength: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * (strength - ends[0]) / (ends[1] - ends[0])

    def y(value: float) -> float:
        share = (_height(metric, value) - frame.low) / (frame.high - frame.low) if frame.high > frame.low else 0.5
        return MARGIN + (HEIGHT - 2 * MARGIN) * (1 - share)

    at = [f"{x(strength):.1f} {y(entry.value):.1f}" for strength, entry in points.items() if entry.value is not None]
    level = f'<path class="level" d="M0 {y(BASELINE[metric]):.1f}H{WIDTH}"/>' if metric in BASELINE else ""
    texts = [entry.printed.value for entry in points.values()]
    svg = (
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">'
        f"<title>{escape(title)}: {escape(', '.join(texts))} {escape(unit)}</title>{level}"
        f'<path class="line" d="M{"L".join(at)}"/><path class="points" d="{"".join(f"M{point}h0" for point in at)}"/></svg>'
    )
    return Line(metric, Markup(svg), texts[0], texts[-1], unit)  # noqa: S704 - only numbers and the escaped title are in it
