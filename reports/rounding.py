"""The only place where a number becomes text: one unit prefix a column, rounding by the interval's width."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import NamedTuple

from reports.findings import Quantity
from results.quality import QUALITIES

_SMALL = ("s", "J", "W", "A", "V", "Hz")
"""Units that are printed down to nano."""
_COUNTS = ("count", "1")
_NEXT = 1.0005
"""999.6 µs prints as 1.00 ms: what three digits round to 1000 takes the next prefix."""


class Scale(NamedTuple):
    """A printed unit and how many SI units it is."""

    unit: str
    factor: float
    decimals: int | None = None
    """Fixed, where an interval does not decide it."""


class Printed(NamedTuple):
    """A number as text, its interval's ends rounded alike; empty ends where there is no interval."""

    value: str
    low: str = ""
    high: str = ""
    half: str = ""
    """Half the interval's width, where that is asked for instead of its ends."""


def scale_for(unit: str, metric: str, values: Iterable[float]) -> Scale:
    """One prefix a column: the one that brings the middle value into 1 ... 1000."""
    if unit == "points":
        return Scale("points", 0.01, 1)
    if unit == "x":
        return Scale("×", 1.0)
    if unit == "change":
        return Scale("%", 0.01)
    if unit == "1" and (metric == "quality" or metric in QUALITIES):
        return Scale("%", 0.01)
    if unit not in ("B", *_COUNTS, *_SMALL):
        return Scale(unit, 1.0)
    prefixes, base = (("n", "µ", "m", "", "k", "M"), 1e-9) if unit in _SMALL else (("", "k", "M", "G", "T"), 1.0)
    sizes = sorted(abs(v) for v in values if v)
    if not sizes:
        return Scale("" if unit in _COUNTS else unit, 1.0)
    step = math.floor(math.log10(statistics.median_low(sizes) / base * _NEXT) / 3)
    step = min(max(step, 0), len(prefixes) - 1)
    return Scale(prefixes[step] + ("" if unit in _COUNTS else unit), base * 1000.0**step)


def printed(scale: Scale, value: float, low: float | None = None, high: float | None = None) -> Printed:
    """Rounded by the interval's width: two significant digits of its half; three digits of the value where there is no interval."""
    value, low, high = (None if v is None else v / scale.factor for v in (value, low, high))  # type: ignore[assignment]
    if scale.decimals is not None:
        return Printed(*("" if v is None else _fixed(v, scale.decimals) for v in (value, low, high)))
    if low is None or high is None or not high > low:
        whole = value == int(value) and abs(value) < 1000
        return Printed(_fixed(value, 0 if whole else 2 - _exponent(value, 3)))
    decimals = min(1 - _exponent((high - low) / 2, 2), 5 - _exponent(value, 6))
    return Printed(_fixed(value, decimals), _fixed(low, decimals), _fixed(high, decimals))


def printed_quantity(scale: Scale, quantity: Quantity) -> Printed:
    """A quantity that is there, as a table prints it; changes carry their sign."""
    assert quantity.value is not None
    text = printed(scale, quantity.value, quantity.low, quantity.high)
    if quantity.unit not in ("points", "change"):
        return text
    return Printed(*(signed(end) if end else "" for end in text))


def printed_half(scale: Scale, quantity: Quantity) -> Printed:
    """As `printed_quantity`, with half the interval's width in place of its ends."""
    text = printed_quantity(scale, quantity)
    if quantity.low is None or quantity.high is None or not text.low:
        return Printed(text.value)
    decimals = len(text.value.partition(".")[2])
    return Printed(text.value, half=_fixed((quantity.high - quantity.low) / 2 / scale.factor, decimals))


def alone(metric: str, quantity: Quantity) -> str:
    """A quantity by itself, with the prefix that suits it: `0.785 ms [0.778, 0.792]`; empty when it is missing."""
    if quantity.value is None:
        return ""
    scale = scale_for(quantity.unit, metric, [quantity.value])
    text = printed_quantity(scale, quantity)
    unit = scale.unit if scale.unit in ("×", "%", "") else f" {scale.unit}"
    return f"{text.value}{unit}" + (f" [{text.low}, {text.high}]" if text.low else "")


def signed(text: str) -> str:
    return text if text.startswith("−") or not text.strip("0.") else f"+{text}"


def _exponent(value: float, digits: int) -> int:
    """Power of ten of the first digit after rounding to `digits` digits: 0.0999 at two digits is 0.10, so -1."""
    return int(f"{value:.{digits - 1}e}".partition("e")[2])


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}" if decimals > 0 else f"{round(value, decimals):.0f}"
    negative = text.startswith("-") and text.strip("-0.") != ""
    return ("−" if negative else "") + text.lstrip("-")
