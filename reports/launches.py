"""The process launches of a cell side by side: warm-up, samples, and what each process and the device reported of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from reports.findings import Quantity
from reports.page import traced
from reports.rounding import alone
from reports.tree import listed, section
from results.record import Record
from results.stats import launch_medians

Said = Mapping[str, Any]


class LaunchTable(NamedTuple):
    heads: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def launch_table(record: Record) -> LaunchTable | None:
    """One row a launch of the latency; columns that no launch has anything in are left out. None where nothing was timed."""
    latency = record.measurement("latency")
    if record.status != "ok" or latency is None or latency.samples is None or not latency.samples.timed.any():
        return None
    samples, medians = latency.samples, launch_medians(latency.samples)
    said = [section(launch) for launch in listed(section(record.provenance, "runtime").get("launches"))]
    rows = []
    for index, launch in enumerate(np.unique(samples.launch).tolist()):
        mine = samples.launch == launch
        median = medians.get(launch)
        text = "–" if median is None else alone("latency", Quantity("s", median))
        here = said[index] if index < len(said) else {}
        rows.append(
            (
                str(launch + 1),
                str(int((mine & ~samples.timed).sum())),
                str(int((mine & samples.timed).sum())),
                "–" if median is None else traced(text, record.id, "latency", median, statistic=f"median of launch {launch + 1}"),
                *(read(here) for read in _SAID.values()),
            )
        )
    heads = ("launch", "warm-up samples", "timed samples", "median", *_SAID)
    used = [column for column in range(len(heads)) if any(row[column] != "" for row in rows)]
    return LaunchTable(tuple(heads[c] for c in used), tuple(tuple(row[c] for c in used) for row in rows))


def _number(unit: str, *path: str) -> Callable[[Said], str]:
    def read(said: Said) -> str:
        value = section(said, *path[:-1]).get(path[-1])
        return alone(path[-1], Quantity(unit, float(value))) if isinstance(value, (int, float)) else ""

    return read


def _grown(unit: str, name: str) -> Callable[[Said], str]:
    """What the process's own count rose by while samples were taken."""

    def read(said: Said) -> str:
        before, after = (section(said, when).get(name) for when in ("process_before", "process_after"))
        if not isinstance(before, (int, float)) or not isinstance(after, (int, float)):
            return ""
        return alone(name, Quantity(unit, float(after - before)))

    return read


def _clock(said: Said) -> str:
    """`1.8 GHz → 1.2 GHz`; one value where it stayed."""
    ends = [_number("Hz", when, "frequency_hz")(said) for when in ("state_before", "state_after")]
    return " → ".join(dict.fromkeys(end for end in ends if end))


def _heat(said: Said) -> str:
    ends = [_number("°C", when, "celsius")(said) for when in ("state_before", "state_after")]
    return " → ".join(dict.fromkeys(end for end in ends if end))


def _warmup(said: Said) -> str:
    seconds = _number("s", "warmup", "seconds")(said)
    return f"{seconds}, capped" if seconds and section(said, "warmup").get("capped") is True else seconds


_SAID: Mapping[str, Callable[[Said], str]] = {
    "warm-up": _warmup,
    "load": _number("s", "load_s"),
    "peak memory": _number("B", "memory", "peak_rss_bytes"),
    "processor time": _grown("s", "cpu_s"),
    "switched away": _grown("count", "involuntary_switches"),
    "pages from disk": _grown("count", "major_faults"),
    "clock": _clock,
    "temperature": _heat,
    "whole process": _number("s", "wall_s"),
}
"""Head of a column -> what a launch's own document says of it; empty where it does not."""
