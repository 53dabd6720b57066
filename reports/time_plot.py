"""A long launch over time as SVG: latency with its knee, or what each sensor read; thinned to the extremes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from reports.page import escape
from reports.power_plot import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, Floats, line
from reports.rounding import Scale, printed, scale_for
from results.record import Samples

PAD = 0.1
"""Of the range of values, that is left free above and below: no scale begins at 0, for it is the change that is looked for."""
DRAWN = 8
"""Sensors that are drawn: those that moved the most."""


def time_plot(
    samples: Samples, unit: str, metric: str, title: str, names: Sequence[str] = (), knee_s: float | None = None
) -> Markup:
    """A line for each number that stands where a launch's does; `names` are theirs. `knee_s`: seconds from the first timed sample."""
    values = samples.value[samples.timed]
    scale = scale_for(unit, metric, [float(np.median(values))])
    begin_s, end_s = float(samples.start_s.min()), float(samples.start_s.max())
    least, most = float(values.min()), float(values.max())
    pad = PAD * (most - least) or abs(most) * PAD or 1.0

    def x(at_s: Floats) -> Floats:
        return LEFT + (WIDTH - LEFT) * (at_s - begin_s) / max(end_s - begin_s, 1e-9)

    def y(value: Floats) -> Floats:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - least + pad) / (most - least + 2 * pad))

    parts = [f'<svg class="power" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escape(title)}</title>']
    for number in _most_moved(samples):
        mine = samples.timed & (samples.launch == number)
        name = f"<title>{escape(names[number])}</title>" if number < len(names) else ""
        parts.append(f'<path d="{"".join(line(samples.start_s[mine], samples.value[mine], x, y))}">{name}</path>')
    if knee_s is not None:
        at = float(x(np.array(float(samples.start_s[samples.timed][0]) + knee_s)))
        parts.append(f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke-dasharray="4 3"/>')
        parts.append(f'<text x="{at + 4:.1f}" y="{TOP + 10}">knee at {printed(Scale("", 1.0), knee_s).value} s</text>')
    for value in dict.fromkeys((least, most)):
        text = printed(Scale("", 1.0), value / scale.factor).value
        parts.append(
            f'<text x="{LEFT - 8}" y="{float(y(np.array(value))) + 4:.1f}" text-anchor="end">{text} {escape(scale.unit)}</text>'
        )
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 6}">0 s</text>')
    length = printed(Scale("", 1.0), end_s - begin_s).value
    parts.append(f'<text x="{WIDTH}" y="{HEIGHT - 6}" text-anchor="end">{length} s</text></svg>')
    return Markup("".join(parts))  # noqa: S704 - only numbers and escaped names are in it


def _most_moved(samples: Samples) -> list[int]:
    numbers = np.unique(samples.launch[samples.timed]).tolist()
    moved = {number: float(np.ptp(samples.value[samples.launch == number])) for number in numbers}
    return sorted(numbers, key=lambda number: -moved[number])[:DRAWN]
