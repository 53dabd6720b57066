"""Energy in words: how far its meter may be believed, and what its flags mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from reports.tree import section
from results.record import Record

METERED = ("energy", "energy_net", "power", "peak_power")
"""What a meter tells of a cell, beside the trace that all of it comes from."""


class Flag(NamedTuple):
    words: str
    meaning: str


_FLAGS: Mapping[str, Flag] = {
    "short": Flag("windows shorter than 10 s", "energy was measured over less than 10 s; a larger `energy_s` mends it"),
    "gap": Flag("gaps in the readings", "the meter gave nothing for a while inside a window; the interval is wider for it"),
    "drops": Flag("lost readings", "the meter lost readings on their way; the interval is wider for it"),
    "clipped": Flag("readings at the meter's limit", "power went beyond the meter's range; the energy is a little too small"),
    "sync": Flag("clocks not well aligned", "the meter's clock and the device's could not be set beside each other well enough"),
    "few_samples": Flag("few readings", "a window holds fewer than 10 readings; a faster meter or longer windows mend it"),
    "cross_check": Flag("counter and power differ", "the meter's counter of joules and its power differ by more than 10 %"),
    "invalid_window": Flag("windows left out", "some windows could not be trusted and do not count; the record says why"),
}
FLAGS: Mapping[str, str] = {flag.words: flag.meaning for flag in _FLAGS.values()}
"""What each means, by the words it is printed in."""


def flag_words(flag: str) -> str:
    return _FLAGS[flag].words if flag in _FLAGS else flag


def meter_remark(record: Record, metric: str) -> str | None:
    """`serial_line, tier T2 (external meter, ...)`, for the numbers that a meter told."""
    meter = section(record.provenance, "energy")
    if metric not in METERED or not meter:
        return None
    share = meter.get("uncertainty")
    own = f"; its own uncertainty of {share:.1%} is not in the interval" if isinstance(share, float) and share > 0 else ""
    return f"by {meter.get('meter')}, tier {meter.get('tier')} ({meter.get('tier_means')}){own}"


def meters_sentence(records: Iterable[Record], metrics: Iterable[str]) -> str:
    """` Energy and power by jetson (T3), rapl (T4).`, where one of the metrics is a meter's; else nothing."""
    if not set(metrics) & set(METERED):
        return ""
    told = [section(record.provenance, "energy") for record in records]
    meters = dict.fromkeys(f"{meter['meter']} ({meter['tier']})" for meter in told if {"meter", "tier"} <= meter.keys())
    return f" Energy and power by {', '.join(meters)}." if meters else ""
