"""Matrix: the records of one run by their place in it. Look-up and order only; no arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from reports.folder import ReportError
from results.paper import CELL_AXES, POINT_AXES, STATE_AXES
from results.printable import printable
from results.record import Axes, Record, Run

AXES = CELL_AXES
"""The axes a table may use for rows and columns, in the order a place lists them."""

_DOCUMENT_KEYS = {"model": "models", "method": "methods", "backend": "backends", "target": "targets"}


AS_IT_WAS = {"cpus": "any CPU", "governor": "governor as it was", "frequency_hz": "clock as it was"}
"""Labels of what a suite does not ask for."""


class Place(NamedTuple):
    """A cell's place as printed labels. One layer of a network is a workload of its own: `resnet8/stack1.conv1`."""

    model: str
    method: str
    backend: str
    target: str
    threads: str
    batch: str
    cpus: str = AS_IT_WAS["cpus"]
    governor: str = AS_IT_WAS["governor"]
    frequency_hz: str = AS_IT_WAS["frequency_hz"]

    def label(self, axis: str) -> str:
        return self[AXES.index(axis)]

    def spoken(self, axis: str) -> str:
        """The label where no header says what it counts."""
        return spoken(axis, self.label(axis))

    @property
    def point(self) -> tuple[str, ...]:
        """What is out of the ordinary in how the device was run: anything but one thread, batch 1, and the device as it was."""
        ordinary = {"threads": "1", "batch": "1", **AS_IT_WAS}
        return tuple(self.spoken(axis) for axis in POINT_AXES if self.label(axis) != ordinary[axis])


@dataclass(frozen=True)
class Matrix:
    """The last record of every place, and the labels of every axis, all in the order of the suite's document."""

    run: Run
    records: Mapping[Place, Record]
    labels: Mapping[str, tuple[str, ...]]
    """axis -> labels that have a record."""

    @cached_property
    def by_model(self) -> Mapping[str, Mapping[Place, Record]]:
        """The records of each model, so that a table of one of hundreds need not look at all."""
        return {model: dict(group) for model, group in itertools.groupby(self.records.items(), lambda item: item[0].model)}

    def varying(self, besides: Iterable[str] = ()) -> tuple[str, ...]:
        """Axes with more than one label: what must be printed for a cell to be named without doubt."""
        return tuple(axis for axis in AXES if axis not in besides and len(self.labels[axis]) > 1)

    def baseline(self, place: Place) -> Place | None:
        """The place that a ratio of `place` is relative to; None when the suite names no baseline."""
        replaced = {axis: label_of(axis, label) for axis, label in dict(self.run.document.get("baseline") or {}).items()}
        return place._replace(**replaced) if replaced else None


def arrange(run: Run, records: Sequence[Record]) -> Matrix:
    """Put every record in its place. A later record of the same place (a retry) replaces the earlier one."""
    placed: dict[Place, Record] = {}
    for record in records:
        place = place_of(record.axes)
        if place in placed and placed[place].axes != record.axes:
            raise ReportError(
                f"two cells differ by hidden characters alone and would print as one: {', '.join(place)}; rename one"
            )
        placed[place] = record
    labels = {axis: _ordered(_document_labels(run, axis), (place.label(axis) for place in placed)) for axis in AXES}
    rank = {axis: {label: index for index, label in enumerate(labels[axis])} for axis in AXES}
    order = sorted(placed, key=lambda place: tuple(rank[axis][label] for axis, label in zip(AXES, place, strict=True)))
    return Matrix(run, {place: placed[place] for place in order}, labels)


def place_of(axes: Axes) -> Place:
    """Where a cell stands, by labels that can be shown anywhere: a suite may put in its names what it likes."""
    whole = axes.layer is None or axes.model.endswith(f"/{axes.layer}")
    model = axes.model if whole else f"{axes.model}/{axes.layer}"
    model, method, backend, target = map(printable, (model, axes.method, axes.backend, axes.target))
    return Place(model, method, backend, target, *(label_of(axis, getattr(axes, axis)) for axis in POINT_AXES))


def spoken(axis: str, label: str) -> str:
    """A bare number says what it counts: `threads 4`."""
    return f"{axis} {label}" if axis in ("threads", "batch") else label


def axis_title(axis: str) -> str:
    return {"cpus": "CPUs", "frequency_hz": "clock"}.get(axis, axis)


def label_of(axis: str, value: Any) -> str:
    """The label of an axis's value, as a record or a suite's document has it, that can be shown anywhere."""
    if axis not in STATE_AXES:
        return printable(str(value))
    if value in (None, ""):
        return AS_IT_WAS[axis]
    text = printable(str(value))
    if axis == "cpus":
        return f"CPU{'' if text.isdigit() else 's'} {text}"
    return f"{int(text) / 1e9:g} GHz" if axis == "frequency_hz" and text.isascii() and text.isdigit() else text


def _document_labels(run: Run, axis: str) -> list[str]:
    if axis in _DOCUMENT_KEYS:
        return [printable(str(label)) for label in run.document.get(_DOCUMENT_KEYS[axis], ())]
    return [label_of(axis, point[axis]) for point in run.document.get("operating_points", ()) if axis in point]


def _ordered(known: Iterable[str], found: Iterable[str]) -> tuple[str, ...]:
    """The labels found, in the document's order; those the document lacks come last, as they appear."""
    present = dict.fromkeys(found)
    first = [label for label in dict.fromkeys(known) if label in present]
    listed = set(first)
    return (*first, *(label for label in present if label not in listed))
