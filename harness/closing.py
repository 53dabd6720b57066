"""What a cell leaves behind: its record, whole, however the cell ended."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from harness import measure, plugins
from harness.errors import WrongAnswer, is_disk_full
from harness.executor import Failure
from harness.plan import Cell
from harness.provenance import now
from harness.steps import Step, data_fingerprint
from harness.trial import Trial, criterion
from results.record import Json, Measurement, Record, Run, Status, canonical_json
from targets.lease import LeaseLost
from targets.session import Invalid, Unreachable

MAX_REASON = 4000
"""Characters: a reason may quote a device."""
MAX_FACT_BYTES = 1 << 16
"""Of one fact that a device tells of itself, as JSON."""


def closed(
    run: Run,
    cell: Cell,
    status: Status,
    reason: str | None,
    error_class: str | None,
    started: str,
    *,
    attempt: int = 1,
    measurements: tuple[Measurement, ...] = (),
    provenance: Json | None = None,
) -> Record:
    provenance = provenance or {}
    return Record(
        id=str(uuid4()),
        run_id=run.id,
        cell_key=cell.key,
        input_hash=cell.input_hash,
        machine_key=provenance.get("device", {}).get("machine_key", ""),
        axes=cell.axes,
        status=status,
        reason=None if reason is None else _cut(reason),
        error_class=error_class,
        started=started,
        finished=now(),
        attempt=attempt,
        claims=provenance.get("compress", {}).get("claims", {}),
        measurements=measurements,
        provenance=provenance,
    )


def unmade(run: Run, cell: Cell, failure: Failure, started: str) -> Record:
    """Of a cell whose artifact could not be made."""
    status: Status = "unsupported" if failure.is_unsupported else "invalid" if failure.is_passing else "failed"
    logs = {"step": failure.step, "tail": failure.log_tail}
    return closed(run, cell, status, failure.message, failure.error_class, started, provenance={"logs": logs})


def measured(run: Run, trial: Trial, device: Json, voided: Sequence[Json]) -> Record:
    """Of a cell that has all its launches. `device`: what it was and how it was; `voided`: the attempts that came to nothing."""
    target = trial.cell.target
    launches = [trial.launches[index] for index in sorted(trial.launches)]
    quality = trial.quality or (
        Measurement(
            criterion(trial.cell).metrics[0],
            "1",
            target.origin,
            "not measured",
            None,
            "a single layer has no quality of its own",
        ),
    )
    more = (*trial.energy.measurements, *trial.sustained.measurements)
    measurements = (*measure.measurements(launches, target), *quality, measure.artifact_size(trial.artifact), *more)
    provenance = _provenance(run, trial, device, voided)
    return closed(
        run,
        trial.cell,
        "ok",
        None,
        None,
        trial.started,
        attempt=len(voided) + 1,
        measurements=measurements,
        provenance=provenance,
    )


def ended_by(run: Run, trial: Trial, error: Exception, device: Json, voided: Sequence[Json], attempt: int) -> Record:
    """Of a cell that an error ended."""
    status: Status = "failed"
    if isinstance(error, WrongAnswer):
        status = "wrong"
    elif isinstance(error, Unreachable):
        status = "unreachable"
    elif isinstance(error, (Invalid, LeaseLost)) or is_disk_full(error):
        status = "invalid"
    provenance = _provenance(run, trial, device, voided)
    return closed(
        run, trial.cell, status, str(error), type(error).__name__, trial.started, attempt=attempt, provenance=provenance
    )


def data_facts(name: str) -> dict[str, Any]:
    spec = plugins.named("data", name).spec
    return {"name": name, "title": spec.title, "sha256": data_fingerprint(name)}


def bounded(facts: Json) -> dict[str, Any]:
    """What a device says of itself, as long as it is of a size that facts have."""
    return {
        _cut(str(name), 200): value
        if (size := len(canonical_json(value).encode(errors="surrogatepass"))) <= MAX_FACT_BYTES
        else {"value": None, "reason": f"{size} bytes, more than the {MAX_FACT_BYTES} that are kept of one fact"}
        for name, value in list(facts.items())[:1000]
    }


def _provenance(run: Run, trial: Trial, device: Json, voided: Sequence[Json]) -> dict[str, Any]:
    cell = trial.cell
    train = trial.build
    while train.needs:
        train = train.needs[0]
    return {
        "who": run.environment,
        "model": {"steps": _step_facts(trial.build), **json.loads((train.folder / "train.json").read_text())},
        "compress": json.loads((trial.network / "compressed.json").read_text()),
        "data": data_facts(cell.workload.data),
        "export": dataclasses.asdict(trial.exported) | {"path": trial.exported.path.name},
        "artifact": {
            "sha256": trial.artifact.sha256,
            "size_bytes": trial.artifact.size_bytes,
            "files": [dataclasses.asdict(file) for file in trial.artifact.files],
            "facts": trial.artifact.facts,
        },
        "check": None if trial.check is None else dataclasses.asdict(trial.check),
        "runtime": {
            "answer": None if trial.answer is None else bounded(trial.answer.document()),
            "launches": [bounded(trial.launches[index].document()) for index in sorted(trial.launches)],
        },
        "device": {name: bounded(value) if isinstance(value, Mapping) else value for name, value in device.items()},
        "voided": list(voided),
        "sampling": run.document["sampling"],
        "seeds": {"suite": run.seed},
        **trial.profile,
        **trial.energy.provenance,
        **trial.sustained.provenance,
    }


def _cut(text: str, most: int = MAX_REASON) -> str:
    return text if len(text) <= most else f"{text[:most]} ... ({len(text)} characters)"


def _step_facts(step: Step) -> list[dict[str, Any]]:
    """The chain that made the artifact, first step first, each with its key and how long it took."""
    before = [facts for need in step.needs for facts in _step_facts(need)]
    return [*before, {"kind": step.kind, "key": step.key, **json.loads((step.folder / "step.json").read_text())}]
