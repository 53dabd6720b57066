from __future__ import annotations

import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reports import drawing

if TYPE_CHECKING:
    import altair as alt

NAMES = ["series 0", "series 1", "series 2"]
ROWS = [{"x": n, "y": n * n, "name": NAMES[n % 3]} for n in range(9)]


def _bars(width: float, height: float | None) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    scale = alt.Scale(domain=NAMES, range=drawing.fills(3))
    bars = alt.Chart().mark_bar().encode(x="x:O", y="y:Q", color=alt.Color("name:N", scale=scale))
    return alt.layer(bars, data=alt.NamedData(name="values")).properties(width=width, height=height or 90)


def _svg(size: drawing.Size, font_size: float = 8) -> str:
    settings = drawing.config(font_size, drawing.FONT, NAMES, size.width)
    return drawing.fitted_svg(_bars, ROWS, settings, 1, 1, size)


@pytest.mark.parametrize("width", [237.6, 504.0, 150.0])
def test_a_figure_is_exactly_as_wide_as_asked(width: float) -> None:
    svg = _svg(drawing.Size(width, None))
    pixels = re.search(r'width="([0-9.]+)"', svg)
    assert pixels is not None and float(pixels[1]) / 96 == pytest.approx(width / 72, abs=1e-3)
    box = re.search(rb"/MediaBox \[0 0 ([0-9.]+) ([0-9.]+)\]", drawing.pdf(svg))
    assert box is not None and float(box[1]) == pytest.approx(width, abs=0.02)


def test_a_height_is_kept_too() -> None:
    box = re.search(rb"/MediaBox \[0 0 ([0-9.]+) ([0-9.]+)\]", drawing.pdf(_svg(drawing.Size(300, 160))))
    assert box is not None and float(box[2]) == pytest.approx(160, abs=drawing.FIT_WITHIN + 0.02)


def test_two_renders_are_the_same_bytes() -> None:
    first = _svg(drawing.Size(240, None))
    assert _svg(drawing.Size(240, None)) == first
    assert len({drawing.pdf(first) for _ in range(12)}) == 1, "svg2pdf names resources in random order; they are sorted"


def test_fonts_are_embedded_and_named() -> None:
    assert drawing.fonts(drawing.pdf(_svg(drawing.Size(240, None)))) == {"LiberationSans"}


def test_a_hatching_is_defined_where_it_is_used() -> None:
    svg = _svg(drawing.Size(240, None))
    used = set(re.findall(r"url\(#(hatch-\d)\)", svg))
    assert used == {"hatch-1", "hatch-2"}
    assert used == set(re.findall(r'<pattern id="([^"]+)"', svg))


def test_a_smaller_font_is_smaller() -> None:
    for size in (6, 9):
        assert f'font-size="{size}px"' in _svg(drawing.Size(240, None), size)


def test_names_are_told_apart_without_colour() -> None:
    assert len(set(drawing.shapes(8))) == 8
    assert len(set(drawing.fills(7))) == 7
    assert len({*zip(drawing.colours(56), drawing.shapes(56), strict=True)}) == 56
    paths = [path for path in drawing.HATCHES if path]
    assert all(one != other for one, other in combinations(paths, 2))


def _brightness(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_colour_stands_out_from_paper_in_grey() -> None:
    for colour in drawing.COLOURS:
        assert (1.05) / (_brightness(colour) + 0.05) > 1.9, colour


@pytest.mark.peers
def test_poppler_finds_every_font_embedded(tmp_path: Path) -> None:
    reader = shutil.which("pdffonts")
    if reader is None:
        pytest.skip("pdffonts not found")
    (tmp_path / "figure.pdf").write_bytes(drawing.pdf(_svg(drawing.Size(240, None))))
    ran = subprocess.run([reader, "figure.pdf"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    fonts = ran.stdout.splitlines()[2:]
    assert fonts and all(" yes yes yes " in line for line in fonts), ran.stdout
