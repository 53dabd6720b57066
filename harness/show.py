"""Plain-text answers of the command line: plans, listings, a record, a compressed file, a doctor's findings. Pure: rows in, text out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from harness import plugins
from harness.compression import Numeric
from harness.errors import UserError
from harness.plan import Cell, estimated_s
from harness.progress import result_text
from harness.suite import Suite, Workload
from harness.suite_file import shipped_suites
from harness.supply import download_text, downloads
from results.paper import POINT_AXES, STATE_AXES
from results.printable import printable
from results.record import Record
from targets.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from harness.compress import CompressedFile
    from harness.devices import Added
    from harness.doctor import Finding
    from results.store import Quarantine, Store

Row = Mapping[str, Any]


def plan_json(suite: Suite, cells: Sequence[Cell]) -> dict[str, Any]:
    return {
        "schema": 1,
        "suite": suite.to_json(),
        "counts": _counts(cells),
        "estimated_s": sum(estimated_s(cell, suite.sampling) for cell in cells),
        "downloads": [{"from": source.where, "bytes": source.download_bytes} for source in downloads(cells)],
        "cells": [
            {
                "id": cell.key,
                "input_hash": cell.input_hash,
                "model": cell.axes.model,
                "layer": cell.axes.layer,
                "method": cell.axes.method,
                "backend": cell.axes.backend,
                "target": cell.axes.target,
                **cell.point.axes,
                "verdict": cell.verdict,
                "reason": cell.reason,
                "record_id": cell.record_id,
                "estimated_s": estimated_s(cell, suite.sampling),
            }
            for cell in cells
        ],
    }


def plan_text(suite: Suite, cells: Sequence[Cell]) -> str:
    axes = [axis for axis in POINT_AXES if axis not in STATE_AXES or any(cell.point.labels[axis] for cell in cells)]
    rows = [
        {
            "id": cell.key[:12],
            "model": cell.workload.label,
            "method": cell.axes.method,
            "backend": cell.axes.backend,
            "target": cell.axes.target,
            **{axis: cell.point.labels[axis] for axis in axes},
            "verdict": cell.verdict,
            "why": cell.reason or (f"record {cell.record_id[:8]}" if cell.record_id else ""),
        }
        for cell in cells
    ]
    counts = ", ".join(f"{count} {verdict}" for verdict, count in _counts(cells).items())
    seconds = sum(estimated_s(cell, suite.sampling) for cell in cells)
    lines = [
        columns(rows),
        "",
        *map(download_text, downloads(cells)),
        f"{len(cells)} cells: {counts}; about {_duration(seconds)} of measuring, and the training and building not yet cached",
    ]
    return "\n".join(lines)


def rows(what: str) -> list[Row]:
    """One row a plug-in of a family, a meter or a shipped suite."""
    if what == "suites":
        return [{"name": path.stem, "about": _about(path)} for path in shipped_suites()]
    if what == "meters":
        from targets import meters

        return [{"name": name, "about": meters.summary(name)} for name in meters.names()]
    return [_plugin_row(what, name) for name in plugins.names(what)]


def target_rows(
    targets: Mapping[str, Target], quarantined: Mapping[str, Quarantine] | None = None, states: Mapping[str, str] | None = None
) -> list[Row]:
    """One row a target; `states` says what each answered when it was called."""
    return [
        {
            "name": t.name,
            "kind": t.kind,
            "transport": t.transport,
            "address": f"{t.user}@{t.address}:{t.port}".removeprefix("@").removesuffix(":0"),
            "host": t.host,
            "times": t.origin,
            "tags": " ".join(t.tags),
            "quarantine": f"since {q.since}: {q.reason}" if (q := (quarantined or {}).get(t.name)) else "",
            **({} if states is None else {"state": states[t.name]}),
        }
        for t in targets.values()
    ]


def added_text(path: Path, added: Added) -> str:
    """What was seen of a device, and the entry that was written."""
    seen = added.probe
    runtimes = ", ".join(f"{name} {version}" for name, version in seen.runtimes.items())
    lines = [
        f"cores      {' + '.join(map(str, seen.clusters))}",
        f"governors  {', '.join(seen.governors) or 'none to choose: the clock can be neither read nor pinned'}",
        f"sensors    {', '.join(seen.sensors) or 'no temperature can be read'}",
        f"python     {seen.python or 'none: name one by --python, or install Python 3.8 or newer'}",
        f"runtimes   {runtimes or 'none that a backend runs on'}",
    ]
    return "\n".join([f"{path}: added", "", added.entry, *lines])


def run_rows(store: Store) -> list[Row]:
    return [
        {"id": run.id[:8], "suite": run.suite, "started": run.started, "finished": run.finished or "unfinished"}
        for run in store.runs()
    ]


def columns(rows: Sequence[Row]) -> str:
    """Rows as aligned columns under their keys; columns that are empty or the same everywhere by default (threads, batch) stay, for scripts."""
    if not rows:
        return "(none)"
    rows = [{key: printable(str(value)) for key, value in row.items()} for row in rows]
    keys = list(rows[0])
    widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in keys[:-1]}
    lines = [[*(key.upper().ljust(widths[key]) for key in keys[:-1]), keys[-1].upper()]]
    lines += [[*(row[key].ljust(widths[key]) for key in keys[:-1]), row[keys[-1]]] for row in rows]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def claims_text(result: CompressedFile) -> str:
    rows = [
        {
            "claim": name,
            "compressed": f"{value:,}",
            "dense": f"{result.baseline[name]:,}" if name in result.baseline else "",
            "ratio": _ratio(result.baseline[name], value) if name in result.baseline else "",
        }
        for name, value in result.claims.items()
        if name != "formats"
    ]
    text = f"{result.path}: {result.model} by {result.method}\n\n{columns(rows)}"
    if formats := result.claims.get("formats"):
        text += "\n\nweights stored as: " + ", ".join(f"{name} ({count} layers)" for name, count in formats.items())
    if result.left_alone:
        text += "\n\nleft alone:\n" + "\n".join(f"  {layer}: {why}" for layer, why in result.left_alone.items())
    return text


def record_text(record: Record, history: Sequence[Record], intact: bool) -> str:
    axes = ", ".join(f"{name} {value}" for name in record.axes.__slots__ if (value := getattr(record.axes, name)) is not None)
    lines = [
        f"record   {record.id}  ({'unaltered' if intact else 'ALTERED SINCE IT WAS WRITTEN'})",
        f"cell     {record.cell_key}",
        f"inputs   {record.input_hash}",
        f"run      {record.run_id}",
        f"axes     {axes}",
        f"status   {record.status}  {result_text(record)}",
        f"when     {record.started} to {record.finished}",
        "",
        columns([_measurement_row(record, index) for index in range(len(record.measurements))]),
        "",
        f"claims   {json.dumps(dict(record.claims))}",
        "",
        "provenance",
        json.dumps(record.provenance, indent=1, default=dict),
    ]
    if len(history) > 1:
        lines += [
            "",
            "history on this machine",
            columns([{"record": r.id[:8], "finished": r.finished, "result": result_text(r)} for r in history]),
        ]
    return "\n".join(lines)


def findings_text(target: str, findings: Sequence[Finding]) -> str:
    signs = {"good": "ok  ", "note": "note", "noise": "noisy", "missing": "MISSING"}
    lines = [f"{target}:"]
    for finding in findings:
        lines.append(f"  {signs[finding.level]:<8}{finding.what}")
        if finding.mend:
            lines.append(f"          mend: {finding.mend}")
    return "\n".join(lines)


def _plugin_row(family: str, name: str) -> Row:
    row: dict[str, Any] = {"name": name, "parameters": "; ".join(plugins.parameters(family, name))}
    if family == "backends":
        row |= _backend_row(name)
    row["about"] = plugins.summary(family, name)
    if family == "data":
        row["here"] = _here(name)
    return row


def _here(data: str) -> str:
    try:
        source = plugins.named("data", data).source()
    except UserError as error:
        return f"no: {str(error).removeprefix(f'{data}: ')}"
    return f"no: download of {source.download_bytes / 1e6:,.1f} MB" if source.download_bytes else f"yes: {source.where}"


def _backend_row(name: str) -> Row:
    from harness import environment

    backend, here = plugins.load("backends", name), Target("local")
    lacking = environment.missing(name, here)
    found = ", ".join(f"{distribution} {version}" for distribution, version in environment.versions(name).items() if version)
    return {
        "usable": f"no: {environment.how_to_get(name)}" if lacking else f"yes: {found}",
        "numeric": " ".join(numeric for numeric in get_args(Numeric) if _takes(name, numeric, here)),
        "reads": " ".join(backend.reads) or "-",
    }


def _takes(name: str, numeric: Numeric, target: Target) -> bool:
    backend = plugins.instantiate("backends", plugins.resolve("backends", name, {}))
    return backend.supports(Workload(plugins.Choice("any"), "any"), numeric, target) is None


def _measurement_row(record: Record, index: int) -> Row:
    measurement = record.measurements[index]
    samples = measurement.samples
    return {
        "metric": measurement.metric,
        "unit": measurement.unit,
        "origin": measurement.origin,
        "samples": 0 if samples is None else int(samples.timed.sum()),
        "how": measurement.reason or measurement.method,
    }


def _about(path: Any) -> str:
    from targets.document import read_document

    about = read_document(path).value.get("about", "")
    return " ".join(str(about).split())


def _counts(cells: Sequence[Cell]) -> dict[str, int]:
    verdicts = [cell.verdict for cell in cells]
    return {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}


def _ratio(dense: float, compressed: float) -> str:
    return f"{dense / compressed:.2f}x" if compressed else "-"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
