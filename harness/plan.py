"""Plan: every cell of a suite with its identity and its verdict, before anything is run. Pure: no device, no file, no clock."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.backend import refusal
from harness.compression import Numeric
from harness.errors import UserError
from harness.own_file import file_refusal, numeric_of
from harness.plugins import Choice, matches
from harness.suite import Condition, OperatingPoint, Sampling, Suite, Workload, as_label
from results.paper import POINT_AXES
from results.record import Axes, PlannedCell, Status, cell_key
from targets.target import Target

Verdict = Literal["run", "cached", "unsupported", "excluded"]
FINAL_STATUSES: frozenset[Status] = frozenset({"ok", "unsupported", "wrong", "failed"})
"""A record with one of these answers its cell until an input changes; `unreachable` and `invalid` are tried again."""


@dataclass(frozen=True, slots=True)
class Done:
    """A record that the store already holds for a cell's inputs."""

    record_id: str
    status: Status


Point = tuple[Workload, Choice, Choice, Target, OperatingPoint]


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of the matrix, planned but not run."""

    workload: Workload
    method: Choice
    backend: Choice
    target: Target
    point: OperatingPoint
    numeric: Numeric
    axes: Axes
    key: str
    """sha256 over the axes alone."""
    input_hash: str
    """sha256 over the axes and all that decides the numbers; empty for an excluded cell, whose data need not be here."""
    verdict: Verdict
    reason: str | None = None
    record_id: str | None = None
    """The record that answers a cached cell."""

    @property
    def block(self) -> tuple[str, str, OperatingPoint]:
        """Cells of one block are compared with each other and so are measured interleaved: same model, device and operating point."""
        return (self.axes.model, self.target.name, self.point)

    def planned(self, position: int) -> PlannedCell:
        return PlannedCell(self.key, self.input_hash, self.axes, position, self.record_id)


def plan(
    suite: Suite,
    targets: Mapping[str, Target],
    identify: Callable[[Point], str],
    done: Callable[[Sequence[str]], Mapping[str, Done]],
) -> tuple[Cell, ...]:
    """Every cell of the matrix in the suite's order, excluded ones included.

    `identify` hashes all that decides a cell's numbers beside its axes (the steps that make its artifact, how it is measured, on what machine)
    and raises UserError where data or weights are missing: one error then names them all. `done` says which of many input hashes the
    store can already answer.
    """
    refuses = _Refuses()
    keep, drop = _matcher(suite, suite.include), _matcher(suite, suite.exclude)
    cells = []
    missing: dict[str, dict[Choice, None]] = {}
    for workload, method, backend, name, point in itertools.product(
        suite.workloads, suite.methods, suite.backends, suite.targets, suite.points
    ):
        target = targets[name]
        numeric = numeric_of(workload.model, method)
        axes = Axes(workload.model.label, method.label, backend.label, name, layer=workload.layer, **point.axes)
        key = cell_key(axes)
        verdict, reason = _verdict(
            keep(axes, workload) if suite.include else "",
            drop(axes, workload),
            point.refusal(target)
            or file_refusal(workload, method, backend, target)
            or refuses(workload, numeric, backend, target, point.threads),
        )
        input_hash = ""
        try:
            if verdict != "excluded":
                identity = identify((workload, method, backend, target, point))
                input_hash = hashlib.sha256(f"{key}\n{identity}".encode()).hexdigest()
        except UserError as error:
            missing.setdefault(str(error), {})[workload.model] = None
        cells.append(Cell(workload, method, backend, target, point, numeric, axes, key, input_hash, verdict, reason))
    if missing:
        raise _not_here(suite, missing)
    answered = done([cell.input_hash for cell in cells if cell.verdict != "excluded"])
    return tuple(_answered(cell, answered.get(cell.input_hash)) for cell in cells)


def restricted(cells: tuple[Cell, ...], only: Sequence[str]) -> tuple[Cell, ...]:
    """The cells whose ids begin as one of `only` does, all others excluded; without `only`, the cells as they are."""
    for start in only:
        named = [cell for cell in cells if start and cell.key.startswith(start)]
        if not named:
            raise UserError(f"--only {start}: no cell's id begins so; `assay plan` lists the ids")
        if len(named) > 1:
            ids = ", ".join(cell.key[:12] for cell in named[:5])
            raise UserError(f"--only {start}: the ids of {len(named)} cells begin so ({ids} ...); give more of it")
        if named[0].verdict == "excluded":
            raise UserError(f"--only {start}: the suite leaves this cell out: {named[0].reason}")
    keep = tuple(only)
    return tuple(
        cell if not only or cell.key.startswith(keep) else replace(cell, verdict="excluded", reason="left out by --only")
        for cell in cells
    )


def _not_here(suite: Suite, missing: Mapping[str, Mapping[Choice, None]]) -> UserError:
    """All that is missing at once: a person fetches data in one go, or leaves its models out in one go."""
    told = "\n".join(f"  {', '.join(model.label for model in models)}: {message}" for message, models in missing.items())
    names = [workload.model.name for workload in suite.workloads]
    models = dict.fromkeys(model for found in missing.values() for model in found)
    patterns = ", ".join(model.name if names.count(model.name) == 1 else json.dumps(model.label) for model in models)
    return UserError(
        f"{suite.path}: what some models need is not here\n{told}\nTo go on without them, run a suite that says "
        f"`extends: {suite.name}` and `exclude: [{{model: [{patterns}]}}]`"
    )


def estimated_s(cell: Cell, sampling: Sampling) -> float:
    """Rough seconds a cell will take; 0 for cells that are not run. Training and compression are not in it."""
    process_start_s = 1.0
    if cell.verdict != "run":
        return 0.0
    launches_s = (sampling.launches + 1) * process_start_s + sampling.launches * (sampling.warmup_s + sampling.min_s)
    launches_s += sampling.sustained_s
    if not (sampling.energy_s and cell.target.meters):
        return launches_s
    return launches_s + sampling.energy_windows * (process_start_s + sampling.warmup_s + sampling.energy_s) + 2 * sampling.idle_s


def _verdict(keep: str | None, drop: str | None, unsupported: str | None) -> tuple[Verdict, str | None]:
    if keep is None:
        return "excluded", "no `include` condition matches"
    if drop is not None:
        return "excluded", f"by `exclude` at {drop}"
    return ("run", None) if unsupported is None else ("unsupported", unsupported)


def _answered(cell: Cell, done: Done | None) -> Cell:
    if done is None or done.status not in FINAL_STATUSES or cell.verdict == "excluded":
        return cell
    return replace(cell, verdict="cached", record_id=done.record_id)


class _Refuses:
    """Asks each backend once for each pair that it can tell apart: a large matrix repeats the question."""

    def __init__(self) -> None:
        self._answers: dict[tuple[Workload, Numeric, Choice, str, int], str | None] = {}

    def __call__(self, workload: Workload, numeric: Numeric, backend: Choice, target: Target, threads: int) -> str | None:
        question = (workload, numeric, backend, target.name, threads)
        if question not in self._answers:
            self._answers[question] = refusal(backend, workload, numeric, target, threads)
        return self._answers[question]


def _matcher(suite: Suite, conditions: tuple[Condition, ...]) -> Callable[[Axes, Workload], str | None]:
    """A function that names the first condition a cell meets, or None. Patterns are matched once a label, not once a cell."""
    labels = {
        "model": {w.label for w in suite.workloads},
        "method": {c.label for c in suite.methods},
        "backend": {c.label for c in suite.backends},
        "target": set(suite.targets),
        **{axis: {point.labels[axis] for point in suite.points} for axis in POINT_AXES},
    }
    sets = [
        (
            c.where,
            {
                axis: {label for label in labels[axis] if any(matches(p, label) for p in patterns)}
                for axis, patterns in c.patterns
            },
        )
        for c in conditions
    ]

    def first_met(axes: Axes, workload: Workload) -> str | None:
        for where, allowed in sets:
            if all(
                (workload.label if axis == "model" else as_label(getattr(axes, axis))) in found for axis, found in allowed.items()
            ):
                return where
        return None

    return first_met
