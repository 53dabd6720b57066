"""Figures from plain rows: Altair charts rendered to SVG by vl-convert, without a network. One function a chart.

Colours are Okabe and Ito's (2008), told apart by the colour-blind; backends also differ in shape, and numbers that were
not measured are drawn hollow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from reports.findings import Findings
from reports.matrix import Place
from reports.rounding import Scale, scale_for

if TYPE_CHECKING:
    import altair as alt

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6D31", "#7F7F7F")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
INK, PAPER = "#1b1f23", "#fdfdfe"
"""Colours of text and ground in a file; inside a page `inline` gives way to the page's own."""

_TEXT = {
    "labelColor": INK,
    "titleColor": INK,
    "labelLimit": 340,
    "labelFontSize": 12,
    "titleFontSize": 12,
    "titleFontWeight": "normal",
}
_STYLE = {
    "background": PAPER,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {**_TEXT, "tickColor": INK, "domainColor": INK, "gridColor": INK, "gridOpacity": 0.12},
    "legend": {
        **_TEXT,
        "orient": "bottom",
        "direction": "horizontal",
        "columns": 2,
        "symbolLimit": 60,
        "titleFontWeight": "bold",
        "symbolBaseFillColor": INK,
        "symbolBaseStrokeColor": INK,
    },
    "aria": False,  # one label for the figure, not one a mark
}


class Point(NamedTuple):
    """One cell that has latency, and where known accuracy, claim and speed-up. SI units; ends are None where there is no interval."""

    model: str
    method: str
    backend: str
    latency_s: float
    latency_low_s: float | None
    latency_high_s: float | None
    quality: float | None
    quality_low: float | None
    quality_high: float | None
    claimed: float | None
    speedup: float | None
    speedup_low: float | None
    speedup_high: float | None
    significant: bool
    is_baseline: bool
    measured: bool


@dataclass(frozen=True)
class Figure:
    """An SVG, or the sentence that says why there is nothing to draw."""

    name: str
    title: str
    svg: str | None
    sentence: str


def points(findings: Findings, places: Iterable[Place]) -> list[Point]:
    """The cells at these places that have a latency."""
    found = []
    for where in places:
        record = findings.matrix.records[where]
        if record.status != "ok" or findings.quantity(record, "latency").value is None:
            continue
        latency, quality = findings.quantity(record, "latency"), findings.quantity(record, "quality")
        speedup, claimed = findings.quantity(record, "speedup"), findings.quantity(record, "claimed_speedup")
        assert latency.value is not None
        found.append(
            Point(
                where.model,
                where.method,
                where.backend,
                *(latency.value, latency.low, latency.high),
                *(quality.value, quality.low, quality.high),
                claimed.value,
                *(speedup.value, speedup.low, speedup.high),
                significant=bool(speedup.significant),
                is_baseline=findings.is_baseline(record),
                measured=latency.origin == "measured",
            )
        )
    return found


def pareto(name: str, title: str, rows: Sequence[Point]) -> Figure:
    """Accuracy against latency with both intervals; a line joins the cells that nothing beats in both."""
    rows = [row for row in rows if row.quality is not None]
    if not rows:
        return Figure(name, title, None, "No cell has both an accuracy and a latency, so there is no trade-off to draw.")
    scale = scale_for("s", "latency", [row.latency_s for row in rows])
    values = [
        {
            **_names(row),
            **_scaled("x", scale, row.latency_s, row.latency_low_s, row.latency_high_s),
            **_scaled("y", Scale("%", 0.01), row.quality or 0.0, row.quality_low, row.quality_high),
        }
        for row in rows
    ]
    import altair as alt

    x = alt.X("x:Q", title=f"latency ({scale.unit}), left is better", scale=_axis_scale([row.latency_s for row in rows]))
    y = alt.Y("y:Q", title="top-1 (%), up is better", scale=alt.Scale(zero=False, nice=False, padding=12))
    front = _chart("front").mark_line(interpolate="step-after", color=INK, opacity=0.35, strokeDash=[4, 3])
    chart = alt.layer(
        front.encode(x=x, y=y),
        _rule().encode(x=x, x2="x_high:Q", y=y).transform_calculate(x="datum.x_low"),
        _rule().encode(x=x, y=y, y2="y_high:Q").transform_calculate(y="datum.y_low"),
        *_marks(values, x=x, y=y),
    )
    sentence = "Each point is one cell with its 95 % intervals; the dashed line joins the cells that no other beats in both."
    return Figure(
        name,
        title,
        _svg(chart.properties(width=400, height=280), cells=values, front=_front(values)),
        sentence + _repeats(values),
    )


def claimed_and_measured(name: str, title: str, rows: Sequence[Point]) -> Figure:
    """Measured speed-up against the claimed MAC ratio, both on logarithmic axes, with the line where a claim comes true."""
    rows = [row for row in rows if row.claimed is not None and row.speedup is not None and not row.is_baseline]
    if not rows:
        return Figure(
            name, title, None, "No cell has both a claim and a measured speed-up, so there is nothing to hold against it."
        )
    values = [
        {**_names(row), "x": row.claimed, **_scaled("y", Scale("×", 1.0), row.speedup or 0.0, row.speedup_low, row.speedup_high)}
        for row in rows
    ]
    ends = [v[key] for v in values for key in ("x", "y_low", "y_high")]
    low, high = min(1.0, *ends) * 0.9, max(1.0, *ends) * 1.1
    import altair as alt

    log = alt.Scale(type="log", base=2, domain=[low, high], nice=False)
    x = alt.X("x:Q", title="claimed: fewer multiply-accumulates (×)", scale=log, axis=alt.Axis(**_ratio_ticks(low, high)))
    y = alt.Y("y:Q", title="measured: speed-up (×)", scale=log, axis=alt.Axis(**_ratio_ticks(low, high)))
    line = _chart("promise").mark_line(color=INK, strokeWidth=1)
    level = _chart("none").mark_line(color=INK, opacity=0.4, strokeDash=[4, 3])
    lines = {"promise": [{"x": low, "y": low}, {"x": high, "y": high}], "none": [{"x": low, "y": 1.0}, {"x": high, "y": 1.0}]}
    chart = alt.layer(
        line.encode(x=x, y=y),
        level.encode(x=x, y=y),
        _rule().encode(x=x, y=y, y2="y_high:Q").transform_calculate(y="datum.y_low"),
        *_marks(values, x=x, y=y),
    )
    sentence = (
        "On the line a claim comes true; below it the device gives less than was claimed, below the dashed line it got slower."
    )
    return Figure(name, title, _svg(chart.properties(width=400, height=340), cells=values, **lines), sentence + _repeats(values))


def speedup_bars(name: str, title: str, rows: Sequence[Point]) -> Figure:
    """Speed-up of every method on every backend, from 1 outwards on a logarithmic axis; pale where chance could explain it."""
    rows = [row for row in rows if row.speedup is not None and not row.is_baseline]
    if not rows:
        return Figure(name, title, None, "No cell has a speed-up over a baseline, so there are no bars to draw.")
    values = [
        {**_names(row), **_scaled("x", Scale("×", 1.0), row.speedup or 1.0, row.speedup_low, row.speedup_high)} for row in rows
    ]
    ends = [v[key] for v in values for key in ("x_low", "x_high")]
    low, high = min(1.0, *ends) * 0.95, max(1.0, *ends) * 1.05
    import altair as alt

    backends = _distinct(values, "backend")
    log = alt.Scale(type="log", base=2, domain=[low, high], nice=False)
    x = alt.X("x:Q", title="speed-up (×), right is faster", scale=log, axis=alt.Axis(**_ratio_ticks(low, high)))
    y = alt.Y("method:N", title=None, sort=_distinct(values, "method"), scale=alt.Scale(paddingInner=0.25))
    offset = alt.YOffset("backend:N", sort=backends)
    colour = alt.Color("backend:N", title="backend", scale=alt.Scale(domain=backends, range=_cycle(PALETTE, backends)))
    opacity = alt.condition("datum.significant", alt.value(1.0), alt.value(0.35))
    bars = _chart("cells").mark_bar().encode(x=x, x2=alt.datum(1.0), y=y, yOffset=offset, color=colour, opacity=opacity)
    whiskers = _rule().encode(x=x, x2="x_high:Q", y=y, yOffset=offset).transform_calculate(x="datum.x_low")
    one = _chart("one").mark_rule(color=INK).encode(x=x)
    height = max(120, 13 * len(backends) * len(_distinct(values, "method")))
    chart = alt.layer(bars, whiskers, one).properties(width=260, height=height)
    sentence = "Bars start at 1, the baseline; thin lines are 95 % intervals. Pale bars cannot be told from 1."
    return Figure(name, title, _svg(chart, cells=values, one=[{"x": 1.0}]), sentence)


def inline(svg: str, prefix: str) -> str:
    """The SVG for the inside of a page: ids of its own, the page's colours, and as wide as there is room."""
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    return svg.replace(INK, "currentColor").replace(PAPER, "none")


def _svg(chart: alt.LayerChart | alt.FacetChart, **datasets: Sequence[Mapping[str, Any]]) -> str:
    """Data sets join by name after Altair is done: it would copy and check every value of every layer."""
    import vl_convert

    specification = {**chart.to_dict(), "config": _STYLE, "datasets": {name: list(rows) for name, rows in datasets.items()}}
    svg: str = vl_convert.vegalite_to_svg(specification, allowed_base_urls=[])
    return svg


def _names(row: Point) -> dict[str, Any]:
    return {
        "method": row.method,
        "family": row.method.partition("(")[0],
        "backend": row.backend,
        "measured": row.measured,
        "significant": row.significant,
    }


def _scaled(axis: str, scale: Scale, value: float, low: float | None, high: float | None) -> dict[str, float]:
    ends = {"": value, "_low": value if low is None else low, "_high": value if high is None else high}
    return {f"{axis}{end}": number / scale.factor for end, number in ends.items()}


def _front(values: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """The cells that no other cell beats in both latency and accuracy, fastest first."""
    front: list[dict[str, float]] = []
    for value in sorted(values, key=lambda v: (v["x"], -v["y"])):
        if not front or value["y"] > front[-1]["y"]:
            front.append({"x": value["x"], "y": value["y"]})
    return front


def _chart(data: str) -> alt.Chart:
    """A layer over the data set of this name."""
    import altair as alt

    chart: alt.Chart = alt.Chart(alt.NamedData(name=data))
    return chart


def _rule() -> alt.Chart:
    chart: alt.Chart = _chart("cells").mark_rule(color=INK, opacity=0.55, strokeWidth=1)
    return chart


def _marks(values: Sequence[Mapping[str, Any]], **place: Any) -> list[alt.Chart]:
    """The points: filled where measured, hollow where not; both layers share one legend."""
    import altair as alt

    families, backends = _distinct(values, "family"), _distinct(values, "backend")
    colours = alt.Scale(domain=families, range=_cycle(PALETTE, families))
    shapes = alt.Scale(domain=backends, range=_cycle(SHAPES, backends))
    colour, shape = alt.Color("family:N", title="method", scale=colours), alt.Shape("backend:N", title="backend", scale=shapes)
    filled = _chart("cells").mark_point(size=75, opacity=0.9, strokeWidth=1.8, filled=True)
    hollow = _chart("cells").mark_point(size=75, opacity=0.9, strokeWidth=1.8, filled=False)
    return [
        filled.encode(color=colour, shape=shape, **place).transform_filter("datum.measured"),
        hollow.encode(color=colour, shape=shape, **place).transform_filter("!datum.measured"),
    ]


def _distinct(values: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    return list(dict.fromkeys(value[key] for value in values))


def _cycle(choices: Sequence[str], names: Sequence[str]) -> list[str]:
    return [choices[index % len(choices)] for index in range(len(names))]


def _repeats(values: Sequence[Mapping[str, Any]]) -> str:
    families, backends = _distinct(values, "family"), _distinct(values, "backend")
    hollow = "" if all(value["measured"] for value in values) else " Hollow points were not measured on a device."
    repeated = len(families) > len(PALETTE) or len(backends) > len(SHAPES)
    return hollow + (" There are more names than colours or shapes, so some repeat." if repeated else "")


def _axis_scale(values: Sequence[float]) -> alt.Scale:
    """Logarithmic where the values span more than a factor of eight."""
    import altair as alt

    kind: Any = "log" if max(values) > 8 * min(values) else "linear"
    return alt.Scale(type=kind, zero=False, nice=False, padding=16)


def _ratio_ticks(low: float, high: float) -> dict[str, Any]:
    steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
    narrow = (0.25, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 2.5, 3, 4)
    return {"values": [v for v in (steps if high > 4 * low else narrow) if low <= v <= high], "format": "~g"}
