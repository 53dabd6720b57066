"""Power over time as SVG: what the meter read, thinned to its extremes, and the windows that count. By hand, to be fast for thousands."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from reports.page import escape
from reports.rounding import Scale, printed, scale_for
from results.record import Samples

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640, 170, 62, 12, 24
COLUMNS = 400
"""Of them each shows the least and the greatest reading that fall into it."""
GAP = 5.0
"""Times the usual distance between two readings: where they lie farther apart, the line is broken."""

Floats = npt.NDArray[np.float64]
Mapped = Callable[[Floats], Floats]


def power_plot(samples: Samples, title: str) -> Markup:
    """Of readings in watts [n] and when they were taken, in seconds from the first."""
    time_s, watts = samples.start_s, samples.value
    scale = scale_for("W", "power", [float(np.median(watts))])
    length_s, most = max(float(time_s[-1]), 1e-9), max(float(watts.max()), 0.0) or 1.0
    least = min(float(watts.min()), 0.0)

    def x(at_s: Floats) -> Floats:
        return LEFT + (WIDTH - LEFT) * at_s / length_s

    def y(value: Floats) -> Floats:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - least) / (most - least))

    parts = [f'<svg class="power" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escape(title)}</title>']
    for number, (begin_s, end_s) in enumerate(_windows(samples), 1):
        left, right = x(np.array([begin_s, end_s]))
        parts.append(f'<rect x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{HEIGHT - TOP - BOTTOM}"/>')
        parts.append(f'<text x="{(left + right) / 2:.1f}" y="{TOP + 12}" text-anchor="middle">{number}</text>')
    parts.append(f'<path d="{"".join(line(time_s, watts, x, y))}"/>')
    for value in dict.fromkeys((least, most)):
        height = float(y(np.array(value)))
        text = printed(Scale("", 1.0), value / scale.factor).value
        parts.append(f'<text x="{LEFT - 8}" y="{height + 4:.1f}" text-anchor="end">{text} {escape(scale.unit)}</text>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 6}">0 s</text>')
    parts.append(f'<text x="{WIDTH}" y="{HEIGHT - 6}" text-anchor="end">{printed(Scale("", 1.0), length_s).value} s</text></svg>')
    return Markup("".join(parts))  # noqa: S704 - only numbers and the escaped title are in it


def _windows(samples: Samples) -> Iterator[tuple[float, float]]:
    """Seconds of the first and of the last timed reading of each window."""
    for launch in np.unique(samples.launch):
        inside = samples.start_s[(samples.launch == launch) & samples.timed]
        if len(inside):
            yield float(inside[0]), float(inside[-1])


def line(time_s: Floats, values: Floats, x: Mapped, y: Mapped) -> Iterator[str]:
    """A path from column to column, broken at gaps."""
    apart_s = np.diff(time_s, prepend=time_s[:1])
    stretch = np.cumsum(apart_s > GAP * float(np.median(apart_s[1:]))) if len(time_s) > 1 else np.zeros(1, np.int64)
    column = (time_s / max(float(time_s[-1]), 1e-9) * COLUMNS).astype(np.int64)
    starts = np.flatnonzero((np.diff(stretch, prepend=-1) != 0) | (np.diff(column, prepend=-1) != 0))
    least, most = y(np.minimum.reduceat(values, starts)), y(np.maximum.reduceat(values, starts))
    begins = np.diff(stretch[starts], prepend=-1) != 0
    for at, low, high, is_begin in zip(x(time_s[starts]), least, most, begins, strict=True):
        yield f"{'M' if is_begin else 'L'}{at:.1f} {low:.1f}V{high:.1f}"
