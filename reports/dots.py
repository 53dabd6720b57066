"""Raw samples of one measurement as a small SVG: in time order, launches apart, warm-up hollow, and each launch's distribution beside them.

Written by hand to be fast for thousands of cells.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from reports.page import escape
from reports.rounding import Scale, printed
from results.record import Samples

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP = 640, 150, 62, 10, 22, 10
DOTS_END, SHAPES = 500, 516
"""Where the dots end, and where the distributions begin."""
BINS = 18
MANY = 8
"""More launches than these are not named one by one, and share one distribution."""
COLOURS = 6
"""Launches take the page's colours l0 ... l5 in turn."""
REACH = 6.0
"""Interquartile ranges beyond the quartiles that the frame holds at most; what lies farther stands at its edge, and the plot says so."""
MAX_DOTS = 1200
"""Beyond this every k-th sample is drawn, with the least and the greatest; `is_thinned` says so."""


def sample_dots(samples: Samples, scale: Scale, estimate: float, title: str) -> Markup:
    """A dot a sample. A dot is a line of no length with a round end: a path is a tenth of the size of as many circles."""
    keep = _kept(samples)
    value, launch, timed = samples.value[keep] / scale.factor, samples.launch[keep], samples.timed[keep]
    low, high = _frame(value[timed])
    x = _positions(launch)
    shown = np.clip(value, low, high)
    y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - (shown - low) / (high - low)) if high > low else np.full(len(value), HEIGHT / 2)
    launches = np.unique(launch)
    levels = {low: float(y[shown.argmin()]), high: float(y[shown.argmax()])}
    middle = estimate / scale.factor
    parts = [f'<svg class="dots" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escape(title)}</title>']
    for level, height in levels.items():
        parts.append(f'<text x="{LEFT - 8}" y="{height + 4:.1f}" text-anchor="end">{printed(Scale("", 1.0), level).value}</text>')
    if low < middle < high:
        height = TOP + (HEIGHT - TOP - BOTTOM) * (1 - (middle - low) / (high - low))
        parts.append(f'<path class="middle" d="M{LEFT} {height:.1f}H{DOTS_END}"/>')
        if min(abs(height - other) for other in levels.values()) > 14:
            text = printed(Scale("", 1.0), middle).value
            parts.append(f'<text x="{LEFT - 8}" y="{height + 4:.1f}" text-anchor="end">{text}</text>')
    for index, number in enumerate(launches):
        mine = launch == number
        colour = f"l{index % COLOURS}"
        parts.append(f'<path class="dot {colour}" d="{_path(x, y, mine & timed)}"/>')
        if not timed[mine].all():
            warm = _path(x, y, mine & ~timed)
            parts.append(f'<path class="dot {colour}" d="{warm}"/><path class="hole" d="{warm}"/>')
        if len(launches) <= MANY:
            centre = (x[mine].min() + x[mine].max()) / 2
            parts.append(f'<text x="{centre:.1f}" y="{HEIGHT - 4}" text-anchor="middle">launch {int(number) + 1}</text>')
    beyond = value[value != shown]
    if len(beyond):
        far = " to ".join(printed(Scale("", 1.0), v).value for v in sorted({float(beyond.min()), float(beyond.max())}))
        parts.append(
            f'<text x="{DOTS_END}" y="{TOP + 14}" text-anchor="end">{len(beyond)} beyond the frame, at its edge: {far}</text>'
        )
    if high > low:
        parts.extend(_distributions(np.clip(samples.value / scale.factor, low, high), samples.launch, samples.timed, low, high))
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704 - only numbers and the escaped title are in it


def _distributions(
    value: npt.NDArray[np.float64], launch: npt.NDArray[np.uint16], timed: npt.NDArray[np.bool_], low: float, high: float
) -> Iterator[str]:
    """How each launch's timed samples spread over the same scale as the dots: the farther right, the more samples."""
    names, group = np.unique(launch, return_inverse=True)
    groups = len(names) if len(names) <= MANY else 1
    group = group if groups > 1 else np.zeros_like(group)
    level = np.minimum(((high - value) / (high - low) * BINS).astype(np.intp), BINS - 1)  # from the greatest value down
    counts = np.bincount((group * BINS + level)[timed], minlength=groups * BINS).reshape(groups, BINS)
    width, step = (WIDTH - SHAPES) / groups, (HEIGHT - TOP - BOTTOM) / BINS
    for index in np.flatnonzero(counts.any(axis=1)):
        left = SHAPES + index * width
        reach = (left + counts[index] * ((width - 4) / counts[index].max())).tolist()
        outline = "".join(f"H{right:.1f}v{step:.2f}" for right in reach)
        yield f'<path class="shape l{index % COLOURS}" d="M{left:.1f} {TOP}{outline}H{left:.1f}z"/>'
    yield f'<text x="{(SHAPES + WIDTH) / 2}" y="{HEIGHT - 4}" text-anchor="middle">{"each launch" if len(names) <= MANY else "all samples"}</text>'


def is_thinned(samples: Samples) -> bool:
    return len(samples) > MAX_DOTS


def _frame(timed: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Least and greatest value that the plot has room for: of the timed samples, without what would press all others into a line."""
    first, third = np.quantile(timed, [0.25, 0.75])
    reach = REACH * (third - first)
    low, high = max(float(timed.min()), float(first - reach)), min(float(timed.max()), float(third + reach))
    return (low, high) if high > low else (float(timed.min()), float(timed.max()))


def _kept(samples: Samples) -> npt.NDArray[np.intp]:
    n = len(samples)
    if n <= MAX_DOTS:
        return np.arange(n)
    ends = [int(samples.value.argmin()), int(samples.value.argmax())]
    return np.unique(np.concatenate([np.arange(0, n, -(-n // MAX_DOTS)), ends]))


def _positions(launch: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
    """[n] x of each sample: in the order taken, a gap where a launch ends."""
    order = np.arange(len(launch), dtype=np.float64)
    gaps = np.concatenate([[0], np.cumsum(launch[1:] != launch[:-1])]) * GAP
    room = DOTS_END - LEFT - 8 - gaps[-1]
    return np.asarray(LEFT + 4 + order * (room / max(len(launch) - 1, 1)) + gaps)


def _path(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], mask: npt.NDArray[np.bool_]) -> str:
    return "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x[mask].tolist(), y[mask].tolist(), strict=True))
