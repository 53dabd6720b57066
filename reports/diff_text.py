"""What changed between two runs, as lines for a terminal and as JSON. Stable: equal runs give equal text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from reports.compare import Diff, Difference, Drift, Elsewhere, Pair
from reports.findings import Quantity
from reports.inputs import changed_inputs
from reports.matrix import AS_IT_WAS, place_of
from reports.metrics import title_of
from reports.rounding import alone
from results.paper import STATE_AXES
from results.printable import printable
from results.record import Record, Run

SCHEMA = 1
"""Version of the JSON document. 1: first."""
LISTED = 20
"""Inputs, cells and numbers that a list of the text form names; it says how many more there are, and JSON has them all."""


def diff_text(diff: Diff) -> str:
    """Worse first, in each part the largest first."""
    parts = [f"{run_name(diff.before)} → {run_name(diff.after)}\n{verdict(diff)}"]
    parts += _part(
        "inputs that differ", _limited(f"{changed} ({_counted(cells, 'cell')})" for changed, cells in diff.inputs.items())
    )
    parts += _part("worse", _lines([p for p in diff.statuses if p.is_worse], [d for d in diff.differences if d.is_worse]))
    parts += _part("better", _lines([p for p in diff.statuses if p.is_better], [d for d in diff.differences if not d.is_worse]))
    parts += _part("other status", _lines([p for p in diff.statuses if not p.is_worse and not p.is_better], []))
    parts += _part("suspect the machine", (f"  {drift_sentence(drift)}" for drift in diff.drifts))
    for group in diff.elsewhere:
        differs = "; ".join(map(str, group.differs)) or "nothing that the records tell"
        title = f"on another machine, so not compared ({group.before[:12]} → {group.after[:12]}: {differs})"
        parts += _part(title, _limited(elsewhere_lines(group)))
    parts += _part("not compared", _limited(uncompared_lines(diff)))
    parts += _part(f"only in {diff.before.id[:8]}", _limited(cell_name(record) for record in diff.only_before))
    parts += _part(f"only in {diff.after.id[:8]}", _limited(cell_name(record) for record in diff.only_after))
    return printable("\n\n".join(parts), lines=True)


def diff_json(diff: Diff) -> dict[str, Any]:
    """All of it, in SI units."""
    return {
        "schema": SCHEMA,
        "before": _run_json(diff.before),
        "after": _run_json(diff.after),
        "least_effect": diff.least,
        "noise_floor": diff.floor,
        "is_worse": diff.is_worse,
        "statuses": [_pair_json(pair) | {"is_worse": pair.is_worse, "is_better": pair.is_better} for pair in diff.statuses],
        "differences": [_difference_json(found) for found in diff.differences],
        "drifts": [drift._asdict() for drift in diff.drifts],
        "elsewhere": [
            {
                "machine_before": group.before,
                "machine_after": group.after,
                "differs": [changed._asdict() for changed in group.differs],
                "cells": [_pair_json(pair) for pair in group.pairs],
            }
            for group in diff.elsewhere
        ],
        "not_compared": [_pair_json(one.pair) | {"metric": one.metric, "why": one.why} for one in diff.uncompared],
        "only_before": [_cell_json(record) | {"record": record.id} for record in diff.only_before],
        "only_after": [_cell_json(record) | {"record": record.id} for record in diff.only_after],
        "inputs": [changed._asdict() | {"cells": cells} for changed, cells in diff.inputs.items()],
        "numbers_compared": diff.compared,
        "numbers_unchanged": diff.unchanged,
        "cells_reused": diff.reused,
    }


def verdict(diff: Diff) -> str:
    """The answer in a sentence, and the one count of what did not change."""
    worse = sum(pair.is_worse for pair in diff.statuses) + sum(found.is_worse for found in diff.differences)
    better = sum(pair.is_better for pair in diff.statuses) + sum(not found.is_worse for found in diff.differences)
    unchanged = f"{diff.unchanged} of {_counted(diff.compared, 'number')} did not change"
    reused = f"; {_counted(diff.reused, 'cell')} of both runs are one and the same record" if diff.reused else ""
    least = f"smallest change told: {100 * diff.least:g} %"
    if diff.floor is not None:
        least += f"; noise floor of the machine: {100 * diff.floor:.2g} %"
    return f"{worse or 'nothing'} worse, {better or 'nothing'} better; {unchanged}{reused} ({least})"


def run_name(run: Run) -> str:
    finished = "" if run.finished else ", not finished"
    return f"{run.suite} {run.id[:8]} ({run.started[:16].replace('T', ' ')}{finished})"


def cell_name(record: Record) -> str:
    """The axes; of the operating point what is out of the ordinary."""
    place = place_of(record.axes)
    point = f" t{place.threads} b{place.batch}" if (place.threads, place.batch) != ("1", "1") else ""
    point += "".join(f", {place.label(axis)}" for axis in STATE_AXES if place.label(axis) != AS_IT_WAS[axis])
    where = "" if place.target == "local" else f" @{place.target}"
    return printable(f"{place.model} | {place.method} | {place.backend}{where}{point}")


def change_text(found: Difference) -> str:
    """`+5.1% [+3.2, +7.0]`, `−2.0 points`; a change carries its sign."""
    return alone(found.metric, found.change)


def inputs_text(found: Difference) -> str:
    """Which kinds of inputs of the cell differ: where to look for the cause."""
    return ", ".join(dict.fromkeys(changed.part for changed in changed_inputs(found.before, found.after))) or "none"


def elsewhere_lines(group: Elsewhere) -> list[str]:
    return [f"{cell_name(pair.after)}{_status_change(pair)}" for pair in group.pairs]


def uncompared_lines(diff: Diff) -> list[str]:
    return [f"{title_of(one.metric)} of {cell_name(one.pair.after)}: {one.why}" for one in diff.uncompared]


def drift_sentence(drift: Drift) -> str:
    change = alone("latency", Quantity("change", drift.change))
    return (
        f"all {drift.cells} latencies on machine {drift.machine_key[:12]} moved one way, by {change} in the middle: "
        "look at its clock, its temperature and what else runs there before the code"
    )


def _part(title: str, lines: Iterable[str]) -> list[str]:
    found = list(lines)
    return ["\n".join([f"{title}:", *found])] if found else []


def _limited(lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    yield from (f"  {line}" for line in found[:LISTED])
    if len(found) > LISTED:
        yield f"  and {len(found) - LISTED} more; --json has them all"


def _lines(pairs: Sequence[Pair], differences: Sequence[Difference]) -> Iterator[str]:
    """Aligned columns: what, by how much, from what to what, of which cell, and which of its inputs differ."""
    for pair in pairs:
        reason = printable(" ".join((pair.after.reason or "").split()))
        yield f"  {cell_name(pair.after)}{_status_change(pair)}{f': {reason}' if reason else ''}"
    rows = [
        (
            title_of(found.metric),
            change_text(found),
            f"{alone(found.metric, found.was)} → {alone(found.metric, found.now)}",
            cell_name(found.after),
            f"(inputs that differ: {inputs_text(found)})",
        )
        for found in differences
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _status_change(pair: Pair) -> str:
    return "" if pair.before.status == pair.after.status else f"  {pair.before.status} → {pair.after.status}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _run_json(run: Run) -> dict[str, Any]:
    return {"id": run.id, "suite": run.suite, "started": run.started, "finished": run.finished}


def _cell_json(record: Record) -> dict[str, Any]:
    return {"id": record.cell_key, **dataclasses.asdict(record.axes)}


def _pair_json(pair: Pair) -> dict[str, Any]:
    sides = {
        name: {"record": record.id, "status": record.status, "reason": record.reason}
        for name, record in zip(("before", "after"), pair, strict=True)
    }
    return _cell_json(pair.after) | sides


def _difference_json(found: Difference) -> dict[str, Any]:
    sides = {
        name: {"record": record.id, "value": q.value, "low": q.low, "high": q.high, "origin": q.origin}
        for name, record, q in (("before", found.before, found.was), ("after", found.after, found.now))
    }
    change = {"unit": found.change.unit, "value": found.change.value, "low": found.change.low, "high": found.change.high}
    inputs = [changed._asdict() for changed in changed_inputs(found.before, found.after)]
    about = {"metric": found.metric, "unit": found.was.unit, "change": change, "q": found.q, "is_worse": found.is_worse}
    return _cell_json(found.after) | about | sides | {"inputs": inputs}
