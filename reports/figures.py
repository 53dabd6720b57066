"""Figures from plain rows: trade-off, claims against measurements, speed-up bars, sweeps of strength. One function a kind.

A family of methods keeps its colour and its shape in every panel; numbers that were not measured on a device are drawn hollow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from reports import drawing
from reports.energy import meters_sentence
from reports.findings import Findings, Quantity
from reports.matrix import AXES
from reports.metrics import METRICS
from reports.rounding import Scale, scale_for
from reports.shown import Shown
from reports.strength import short_names
from results.paper import FigureSpec
from results.record import Record

if TYPE_CHECKING:
    import altair as alt

LOGARITHMIC_FROM = 8
"""An axis is logarithmic where its values span more than this factor."""
PANELS_A_ROW = {"trade_off": 2.6, "claimed_and_measured": 2.2, "speedup_bars": 2.6, "sweep": 2.2}
"""Inches that a panel of each kind needs to be read; as many stand beside each other as there is room for."""
DEFAULT_METRICS = {
    "trade_off": ("latency", "quality"),
    "claimed_and_measured": ("claimed_speedup", "speedup"),
    "speedup_bars": ("speedup", ""),
    "sweep": ("", "quality"),
}
"""(x, y) of each kind where the suite names none."""
MAX_PANELS = 24
MAX_BARS = 150
TALLEST = {"trade_off": 180.0, "claimed_and_measured": 230.0, "sweep": 180.0}
"""Points that a plot is high at most."""
TALLEST_FIGURE = 600.0
"""The same of all plots below each other with their headers: a page of a paper."""
HEADER = 24.0
"""Points above each panel."""


@dataclass(frozen=True)
class Figure:
    """An SVG, or the sentence that says why there is nothing to draw."""

    name: str
    title: str
    svg: str | None
    sentence: str
    pdf: bytes | None = None
    """Where it is a paper's."""
    label: str = ""
    """What `\\ref` takes, where it is a paper's."""


class _Axis(NamedTuple):
    metric: str
    title: str
    scale: Scale


class _Plot(NamedTuple):
    """What a kind draws: rows for Vega-Lite, the layers over them, and how many points high a plot of some width is."""

    values: list[dict[str, Any]]
    layers: Callable[[], Sequence[alt.Chart]]
    sentence: str
    height: Callable[[float], float]


def draw(spec: FigureSpec, findings: Findings, title: str = "", *, is_exact: bool = True) -> Figure:
    """A figure as a suite asks for it. One that need not be exactly as wide takes less time to draw."""
    shown = Shown.of(findings, spec.only)
    records = [record for record in shown.records.values() if record.status == "ok"]
    x, y = (given or default for given, default in zip((spec.x, spec.y), DEFAULT_METRICS[spec.kind], strict=True))
    rows = _rows(findings, shown, _panel_axes(spec, shown), x, y)
    rows = [row for row in rows if all(row.get(axis) is not None for axis, metric in (("x", x), ("y", y)) if metric)]
    axes = {axis: _axis(findings, records, rows, axis, metric) for axis, metric in (("x", x), ("y", y)) if metric}
    plot = _KINDS[spec.kind](rows, axes, shown)
    if isinstance(plot, str):
        return Figure(spec.name, title, None, plot)
    panels = len(_distinct(plot.values, "panel"))
    if spec.kind != "speedup_bars" and panels > MAX_PANELS:
        return Figure(spec.name, title, None, f"This would be {panels} panels: show fewer cells, or fewer axes in panels.")
    if spec.kind == "speedup_bars" and len(rows) > MAX_BARS:
        return Figure(spec.name, title, None, f"This would be {len(rows)} bars: show fewer cells.")
    return Figure(
        spec.name,
        title,
        _rendered(spec, plot, is_exact),
        plot.sentence + _unmeasured(spec.kind, plot.values) + _repeats(plot.values) + meters_sentence(records, (x, y)),
    )


def _panel_axes(spec: FigureSpec, shown: Shown) -> list[str]:
    """What gets panels: the axes that the suite names, or all that vary beside the method; bars must always be told apart."""
    varying = [axis for axis in AXES if axis != "method" and len({labels[axis] for labels in shown.labels.values()}) > 1]
    return varying if spec.panels is None or spec.kind == "speedup_bars" else [a for a in varying if a in spec.panels]


def _rows(findings: Findings, shown: Shown, panel_axes: Sequence[str], x: str, y: str) -> list[dict[str, Any]]:
    """One for each ok cell: its panel, family and strength, and both metrics in SI with their intervals' ends."""
    names = short_names(shown.strengths)
    order: dict[str, int] = {}
    rows = []
    for place, record in shown.records.items():
        if record.status != "ok":
            continue
        strength = shown.strengths[place.method]
        quantities = {axis: findings.quantity(record, metric) for axis, metric in (("x", x), ("y", y)) if metric}
        origins = {q.origin for q in quantities.values()} - {None, "measured"}
        panel = _panel(", ".join(place.spoken(axis) for axis in panel_axes), " and ".join(sorted(map(str, origins))))
        rows.append(
            {
                "panel": panel,
                "rank": order.setdefault(panel, len(order)),
                "method": f"{names[strength.family]} {strength.label}".rstrip(),
                "family": names[strength.family],
                "strength": strength.value,
                "baseline": findings.is_baseline(record),
                "measured": not origins,
                "significant": all(q.significant is not False for q in quantities.values()),
                **{key: value for axis, q in quantities.items() for key, value in _ends(axis, q).items()},
            }
        )
    return rows


def _panel(name: str, origin: str) -> str:
    """What was not measured stands apart, and no line joins it to what was."""
    return f"{name} ({origin})" if name and origin else name or origin


def _ends(axis: str, quantity: Quantity) -> dict[str, float | None]:
    value = quantity.value
    low = value if quantity.low is None else quantity.low
    high = value if quantity.high is None else quantity.high
    return {axis: value, f"{axis}_low": low, f"{axis}_high": high}


def _axis(findings: Findings, records: Sequence[Record], rows: Sequence[dict[str, Any]], axis: str, metric: str) -> _Axis:
    """The title with its unit, and the rows' values brought to that unit."""
    units = {findings.quantity(record, metric).unit for record in records} - {""}
    scale = scale_for(min(units), metric, [row[axis] for row in rows]) if units else Scale("", 1.0)
    for row in rows:
        for end in (axis, f"{axis}_low", f"{axis}_high"):
            row[end] /= scale.factor
    unit = f" ({scale.unit})" if scale.unit else ""
    return _Axis(metric, f"{findings.title(metric, records)}{unit}", scale)


def _with_better(drawn: _Axis) -> str:
    better = METRICS[drawn.metric].better if drawn.metric in METRICS else None
    return drawn.title + {"low": ", left is better", "high": ", right is better", None: ""}[better]


def _trade_off(rows: list[dict[str, Any]], axes: Mapping[str, _Axis], _: Shown) -> _Plot | str:
    """One metric against another with both intervals; a line joins the cells that nothing beats in both."""
    if not rows:
        return "No cell has both numbers, so there is no trade-off to draw."
    values = _drawn(rows)
    for panel in _distinct(values, "panel"):
        values += [{**point, "kind": "front", "panel": panel} for point in front([row for row in rows if row["panel"] == panel])]

    def layers() -> Sequence[alt.Chart]:
        import altair as alt

        x = alt.X("x:Q", title=_with_better(axes["x"]), scale=_scale(rows, "x"), axis=_ticks(rows, "x"))
        y = alt.Y("y:Q", title=axes["y"].title, scale=_scale(rows, "y"), axis=_ticks(rows, "y"))
        line = _only("front").mark_line(
            interpolate="step-after", color=drawing.INK, opacity=0.5, strokeDash=[3, 2], strokeWidth=0.8
        )
        return (line.encode(x=x, y=y), *_whiskers(x, y), *_points(values, x, y))

    sentence = "Each point is one cell with its 95 % intervals; the dashed line joins the cells that no other beats in both."
    return _Plot(values, layers, sentence, lambda width: min(0.7 * width, TALLEST["trade_off"]))


def _claimed_and_measured(rows: list[dict[str, Any]], axes: Mapping[str, _Axis], _: Shown) -> _Plot | str:
    """What is measured against what is claimed, both on logarithmic axes, with the line where a claim comes true."""
    rows = [row for row in rows if not row["baseline"] and min(row["x"], row["y_low"]) > 0]
    if not rows:
        return "No cell has both a claim and a measured ratio, so there is nothing to hold against it."
    ends = [row[key] for row in rows for key in ("x", "y_low", "y_high")]
    low, high = min(1.0, *ends) * 0.9, max(1.0, *ends) * 1.1
    values = _drawn(rows)
    for panel in _distinct(values, "panel"):
        for kind, last in (("promise", high), ("none", 1.0)):
            values += [
                {"kind": kind, "panel": panel, "x": low, "y": low if kind == "promise" else 1.0},
                {"kind": kind, "panel": panel, "x": high, "y": last},
            ]

    def layers() -> Sequence[alt.Chart]:
        import altair as alt

        log, ticks = alt.Scale(type="log", base=2, domain=[low, high], nice=False), alt.Axis(**_ratio_ticks(low, high))
        x = alt.X("x:Q", title=axes["x"].title, scale=log, axis=ticks)
        y = alt.Y("y:Q", title=f"measured {axes['y'].title}", scale=log, axis=ticks)
        line = _only("promise").mark_line(color=drawing.INK, strokeWidth=0.8)
        level = _only("none").mark_line(color=drawing.INK, opacity=0.5, strokeDash=[3, 2], strokeWidth=0.8)
        return (line.encode(x=x, y=y), level.encode(x=x, y=y), *_whiskers(x, y), *_points(values, x, y))

    sentence = (
        "On the line a claim comes true; below it the device gives less than was claimed, below the dashed line it got slower."
    )
    return _Plot(values, layers, sentence, lambda width: min(width, TALLEST["claimed_and_measured"]))


def _speedup_bars(rows: list[dict[str, Any]], axes: Mapping[str, _Axis], _: Shown) -> _Plot | str:
    """A ratio of every method, from 1 outwards on a logarithmic axis; one bar a backend, where they differ."""
    rows = [row for row in rows if not row["baseline"] and row["x_low"] > 0]
    if not rows:
        return "No cell has a ratio to a baseline, so there are no bars to draw."
    ends = [row[key] for row in rows for key in ("x_low", "x_high")]
    low, high = min(1.0, *ends) * 0.95, max(1.0, *ends) * 1.12
    values = _drawn(rows)
    bars, methods = _panels(values), _distinct(values, "method")
    values.append({"kind": "one", "x": 1.0})

    def layers() -> Sequence[alt.Chart]:
        import altair as alt

        log = alt.Scale(type="log", base=2, domain=[low, high], nice=False)
        x = alt.X("x:Q", title=_with_better(axes["x"]), scale=log, axis=alt.Axis(**_ratio_ticks(low, high)))
        y = alt.Y("method:N", title=None, sort=methods, scale=alt.Scale(paddingInner=0.25, paddingOuter=0.1))
        offset = alt.YOffset("panel:N", sort=bars)
        scale = alt.Scale(domain=bars, range=drawing.fills(len(bars)))
        colour = alt.Color("panel:N", scale=scale, legend=_legend(bars))
        cells = _only("cell")
        base = cells.mark_bar(stroke=drawing.INK, strokeWidth=0.4).encode(
            x=x, x2=alt.datum(1.0), y=y, yOffset=offset, color=colour
        )
        whiskers = cells.mark_rule(color=drawing.INK, strokeWidth=0.8).encode(x=x, x2="x_high:Q", y=y, yOffset=offset)
        even = cells.mark_text(text="n.s.", align="left", baseline="middle", dx=3, fontStyle="normal")
        one = _only("one").mark_rule(color=drawing.INK, strokeWidth=0.8).encode(x=x)
        return (
            base,
            whiskers.transform_calculate(x="datum.x_low"),
            even.encode(x=x, y=y, yOffset=offset)
            .transform_filter("!datum.significant")
            .transform_calculate(x="max(datum.x_high, 1)"),
            one,
        )

    height = max(60.0, 11.0 * len(bars) * len(methods))
    sentence = "Bars start at 1, the baseline; thin lines are 95 % intervals. n.s.: cannot be told from 1."
    return _Plot(values, layers, sentence, lambda _: height)


def _sweep(rows: list[dict[str, Any]], axes: Mapping[str, _Axis], shown: Shown) -> _Plot | str:
    """A metric over the strength of each family; the baseline, and what has no strength, across."""
    if not any(row["strength"] is not None for row in rows):
        return "No method was run at several strengths, so there is no sweep to draw."
    swept = [
        {**row, "kind": "cell", "x": row["strength"], "x_low": row["strength"], "x_high": row["strength"]}
        for row in rows
        if row["strength"] is not None
    ]
    level = [{**row, "kind": "level"} for row in rows if row["baseline"]]
    values = swept + level

    def layers() -> Sequence[alt.Chart]:
        import altair as alt

        x = alt.X("x:Q", title=shown.swept, scale=alt.Scale(zero=False, nice=False, padding=8), axis=_ticks(swept, "x"))
        y = alt.Y("y:Q", title=axes["y"].title, scale=_scale(rows, "y"), axis=_ticks(rows, "y"))
        dashed = _only("level").mark_rule(color=drawing.INK, opacity=0.6, strokeDash=[3, 2], strokeWidth=0.8)
        lines = _only("cell").mark_line(strokeWidth=0.9).encode(x=x, y=y, color=_colour(swept), order="x:Q")
        return (dashed.encode(y=y), lines, *_whiskers(x, y), *_points(swept, x, y))

    sentence = "Points are cells with their 95 % intervals; the dashed line is the baseline."
    return _Plot(values, layers, sentence, lambda width: min(0.75 * width, TALLEST["sweep"]))


_KINDS: Mapping[str, Callable[[list[dict[str, Any]], Mapping[str, _Axis], Shown], _Plot | str]] = {
    "trade_off": _trade_off,
    "claimed_and_measured": _claimed_and_measured,
    "speedup_bars": _speedup_bars,
    "sweep": _sweep,
}


def _rendered(spec: FigureSpec, plot: _Plot, is_exact: bool) -> str:
    import altair as alt

    width = spec.width_in * drawing.POINTS_AN_INCH
    panels = 1 if spec.kind == "speedup_bars" else len(_distinct(plot.values, "panel"))
    columns = max(1, min(panels, int(spec.width_in / PANELS_A_ROW[spec.kind])))
    rows = -(-panels // columns)

    def chart(plot_width: float, plot_height: float | None) -> alt.LayerChart | alt.FacetChart:
        height = (
            min(plot.height(plot_width), TALLEST_FIGURE / rows - HEADER * (panels > 1)) if plot_height is None else plot_height
        )
        layered = alt.layer(*plot.layers()).properties(width=plot_width, height=height)
        if panels == 1:
            return layered.properties(data=alt.NamedData(name="values"))
        facet = alt.Facet("panel:N", sort=_panels(plot.values), title=None)
        return layered.facet(facet, columns=columns, data=alt.NamedData(name="values"), spacing=10)

    labels = _distinct(plot.values, "panel" if spec.kind == "speedup_bars" else "family")
    settings = drawing.config(spec.font_size, spec.font, labels, width)
    size = drawing.Size(width, None if spec.height is None else spec.height * drawing.POINTS_AN_INCH)
    return drawing.fitted_svg(chart, plot.values, settings, columns, rows, size, is_exact=is_exact)


def front(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """The cells that no other cell beats in both metrics, leftmost first."""
    found: list[dict[str, float]] = []
    for row in sorted(rows, key=lambda r: (r["x"], -r["y"])):
        if not found or row["y"] > found[-1]["y"]:
            found.append({"x": row["x"], "y": row["y"]})
    return found


def _drawn(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "kind": "cell"} for row in rows]


def _only(kind: str) -> alt.Chart:
    """A layer over the rows of one kind."""
    import altair as alt

    chart: alt.Chart = alt.Chart().transform_filter(f"datum.kind == '{kind}'")
    return chart


def _whiskers(x: alt.X, y: alt.Y) -> tuple[alt.Chart, alt.Chart]:
    across = _only("cell").mark_rule(color=drawing.INK, opacity=0.6, strokeWidth=0.8)
    upright = _only("cell").mark_rule(color=drawing.INK, opacity=0.6, strokeWidth=0.8)
    return (
        across.encode(x=x, x2="x_high:Q", y=y).transform_calculate(x="datum.x_low"),
        upright.encode(x=x, y=y, y2="y_high:Q").transform_calculate(y="datum.y_low"),
    )


def _points(values: Sequence[Mapping[str, Any]], x: alt.X, y: alt.Y) -> tuple[alt.Chart, alt.Chart]:
    """Filled where measured, hollow where not; both layers share one legend."""
    import altair as alt

    families, colour = _distinct(values, "family"), _colour(values)
    shape = alt.Shape("family:N", scale=alt.Scale(domain=families, range=drawing.shapes(len(families))), legend=_legend(families))
    filled = _only("cell").mark_point(size=32, opacity=0.95, strokeWidth=1, filled=True).transform_filter("datum.measured")
    hollow = _only("cell").mark_point(size=32, opacity=0.95, strokeWidth=1, filled=False).transform_filter("!datum.measured")
    return filled.encode(x=x, y=y, color=colour, shape=shape), hollow.encode(x=x, y=y, color=colour, shape=shape)


def _panels(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """In the suite's order, though the first cells of one may have nothing to draw."""
    ranks = {value["panel"]: value["rank"] for value in values if "rank" in value}
    return sorted(ranks, key=lambda panel: ranks[panel])


def _colour(values: Sequence[Mapping[str, Any]]) -> alt.Color:
    import altair as alt

    families = _distinct(values, "family")
    scale = alt.Scale(domain=families, range=drawing.colours(len(families)))
    return alt.Color("family:N", scale=scale, legend=_legend(families))


def _legend(names: Sequence[str]) -> Any:
    """None where there is only one: the caption names it."""
    import altair as alt

    return alt.Undefined if len(names) > 1 else None


def _distinct(values: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    return list(dict.fromkeys(value[key] for value in values if key in value))


def _unmeasured(kind: str, values: Sequence[Mapping[str, Any]]) -> str:
    panels = _distinct([value for value in values if not value.get("measured", True)], "panel")
    if not panels:
        return ""
    return (
        f" Not measured on a device: {'; '.join(panels)}."
        if kind == "speedup_bars"
        else " Hollow points were not measured on a device."
    )


def _repeats(values: Sequence[Mapping[str, Any]]) -> str:
    many = max(len(_distinct(values, key)) for key in ("family", "panel")) > len(drawing.SHAPES)
    return " There are more names than shapes, so some repeat in grey print." if many else ""


def _is_logarithmic(rows: Sequence[Mapping[str, Any]], axis: str) -> bool:
    values = [row[axis] for row in rows]
    return bool(min(values) > 0 and max(values) > LOGARITHMIC_FROM * min(values))


def _scale(rows: Sequence[Mapping[str, Any]], axis: str) -> alt.Scale:
    import altair as alt

    kind: Any = "log" if _is_logarithmic(rows, axis) else "linear"
    return alt.Scale(type=kind, zero=False, nice=False, padding=8)


def _ticks(rows: Sequence[Mapping[str, Any]], axis: str) -> alt.Axis:
    """Few enough to be read; on a logarithmic axis 1, 2, 5 of each decade."""
    import altair as alt

    if not _is_logarithmic(rows, axis):
        return alt.Axis(tickCount=5)
    low, high = min(row[axis] for row in rows), max(row[axis] for row in rows)
    steps = [factor * 10.0**decade for decade in range(-9, 12) for factor in (1, 2, 5)]
    return alt.Axis(values=[step for step in steps if low * 0.8 <= step <= high * 1.25], format="~g")


def _ratio_ticks(low: float, high: float) -> dict[str, Any]:
    steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
    narrow = (0.25, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 2.5, 3, 4)
    return {"values": [v for v in (steps if high > 4 * low else narrow) if low <= v <= high], "format": "~g"}
