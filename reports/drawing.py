"""From a Vega-Lite chart to SVG and PDF of an exact width, without a network, in the same bytes each time.

A chart's units are points, 72 to an inch. Colours are Okabe and Ito's (2008), told apart by the colour-blind; bars also differ in
their hatching and points in their shape, so that grey print tells them apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import altair as alt

POINTS_AN_INCH, PIXELS_AN_INCH = 72, 96
FONT = "Liberation Sans"
"""Comes with vl-convert, so it is the same on every machine."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6F4E1F")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
HATCHES = (
    "",
    "M-1,7L7,-1M-1,1L1,-1M5,7L7,5",
    "M0,1.5H6M0,4.5H6",
    "M-1,-1L7,7M-1,5L1,7M5,-1L7,1",
    "M3,0V6",
    "M0,3H6M3,0V6",
    "M1.5,1.5h1v1h-1zM4.5,4.5h1v1h-1z",
)
"""Paths in a square of 6 points; the first is solid colour."""
INK, PAPER = "#1b1f23", "#ffffff"
FIT_WITHIN = 0.25
"""Points that a chart's width may be off what was asked for."""
LEAST_PLOT = 20.0
"""Points that a plot is wide and high at least."""


class Size(NamedTuple):
    """Points."""

    width: float
    height: float | None
    """None: what suits the chart."""


def colours(count: int) -> list[str]:
    """Seven colours go with eight shapes: a pair of both repeats after 56 names."""
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def shapes(count: int) -> list[str]:
    return [SHAPES[index % len(SHAPES)] for index in range(count)]


def fills(count: int) -> list[str]:
    """What bars are filled with: the first plain, each other one with a hatching in a colour of its own."""
    hatched = [f"url(#hatch-{index})" for index in range(1, len(COLOURS))]
    return [[COLOURS[0], *hatched][index % len(COLOURS)] for index in range(count)]


def config(font_size: float, font: str, labels: Sequence[str], width: float) -> dict[str, Any]:
    """Vega-Lite's configuration; the legend stands below, as many names of `labels` beside each other as there is room for."""
    text = {
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": font_size,
        "titleFontSize": font_size,
        "titleFontWeight": "normal",
        "labelFont": font,
        "titleFont": font,
    }
    longest = max(map(len, labels), default=1)
    axis = {"tickColor": INK, "domainColor": INK, "gridColor": INK, "gridOpacity": 0.12, "gridWidth": 0.5, "tickSize": 3}
    return {
        "background": PAPER,
        "font": font,
        "padding": 1,
        "view": {"stroke": None},
        "axis": {
            **text,
            **axis,
            "domainWidth": 0.6,
            "tickWidth": 0.6,
            "titlePadding": 4,
            "labelPadding": 2,
            "labelLimit": 0.45 * width,
        },
        "header": {**text, "title": None, "labelPadding": 3, "labelLimit": width},
        "legend": {
            **text,
            "title": None,
            "orient": "bottom",
            "direction": "horizontal",
            "columns": max(1, int(width / (0.55 * font_size * longest + 22))),
            "labelLimit": 0.9 * width,
            "symbolLimit": 60,
            "symbolSize": 4.5 * font_size,
            "offset": 6,
            "rowPadding": 1,
            "columnPadding": 8,
        },
        "text": {"font": font, "fontSize": font_size - 1, "color": INK},
        "aria": False,  # one label for the figure, not one a mark
    }


def fitted_svg(
    chart: Callable[[float, float | None], alt.LayerChart | alt.FacetChart],
    values: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    columns: int,
    rows: int,
    size: Size,
    *,
    is_exact: bool = True,
) -> str:
    """`chart(plot width, plot height)` with plots in `columns` and `rows`, as an SVG of this size.

    What stands around the plots is known only once it is drawn, so it is drawn again until it fits; a legend wider than the
    figure makes all of it a little smaller.
    """
    width = 0.8 * size.width / columns
    height = None if size.height is None else 0.7 * size.height / rows
    for _ in range(5):
        svg = _svg(chart(width, height), values, settings)
        drawn = _size(svg)
        too_wide = (drawn.width - size.width) / columns
        too_high = (drawn.height - size.height) / rows if drawn.height and size.height else 0.0
        if not is_exact or max(abs(too_wide), abs(too_high)) < FIT_WITHIN or width - too_wide < LEAST_PLOT:
            break
        width -= too_wide
        height = None if height is None else max(height - too_high, LEAST_PLOT)
    return _framed(svg, size)


def pdf(svg: str) -> bytes:
    """A page of the SVG's size in points; its resources are sorted, for svg2pdf lists them in another order each time."""
    import vl_convert

    def in_points(match: re.Match[str]) -> str:
        width, height = (float(side) * POINTS_AN_INCH / PIXELS_AN_INCH for side in match.groups())
        return f'width="{width:.2f}" height="{height:.2f}"'

    points = re.sub(r'width="([0-9.]+)" height="([0-9.]+)"', in_points, svg, count=1)
    written: bytes = vl_convert.svg_to_pdf(points)
    return re.sub(rb"(/(?:Font|Pattern|ExtGState|XObject|Shading) <<\n)((?: +/\S+ [^\n]+\n)+)", _sorted_lines, written)


def fonts(document: bytes) -> frozenset[str]:
    """The fonts embedded in a PDF that `pdf` made, without their subset tag: `LiberationSans`."""
    return frozenset(name.decode() for name in re.findall(rb"/BaseFont /[A-Z]{6}\+([A-Za-z0-9]+)", document))


def _sorted_lines(match: re.Match[bytes]) -> bytes:
    return match[1] + b"".join(sorted(match[2].splitlines(keepends=True)))


def _svg(chart: alt.LayerChart | alt.FacetChart, values: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> str:
    """The values join by name after Altair is done: it would copy and check every one of every layer."""
    import vl_convert

    specification = {**chart.to_dict(), "config": dict(settings), "datasets": {"values": list(values)}}
    svg: str = vl_convert.vegalite_to_svg(specification, allowed_base_urls=[])
    return re.sub(r"(<svg[^>]*>)", lambda match: match[1] + _hatching(svg), svg, count=1)


def _size(svg: str) -> Size:
    match = re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', svg)
    assert match is not None
    return Size(float(match[1]), float(match[2]))


def _framed(svg: str, size: Size) -> str:
    """Exactly as wide as asked: what is narrower gets room, what is wider shrinks. The size is stated in pixels of a browser."""
    drawn = _size(svg)
    box = Size(max(drawn.width, size.width), max(drawn.height or 0.0, size.height or 0.0))
    scale = PIXELS_AN_INCH / POINTS_AN_INCH * size.width / box.width
    attributes = (
        f'width="{box.width * scale:.2f}" height="{(box.height or 0.0) * scale:.2f}" viewBox="0 0 {box.width:g} {box.height:g}"'
    )
    return re.sub(r'width="[0-9.]+" height="[0-9.]+" viewBox="[^"]+"', attributes, svg, count=1)


def _hatching(svg: str) -> str:
    """Definitions of the hatchings that the drawing uses."""
    used = sorted({int(index) for index in re.findall(r"url\(#hatch-(\d+)\)", svg)})
    patterns = (
        f'<pattern id="hatch-{index}" width="6" height="6" patternUnits="userSpaceOnUse">'
        f'<rect width="6" height="6" fill="{PAPER}"/>'
        f'<path d="{HATCHES[index]}" fill="{COLOURS[index]}" stroke="{COLOURS[index]}" stroke-width="1.3"/></pattern>'
        for index in used
    )
    return f"<defs>{''.join(patterns)}</defs>" if used else ""
