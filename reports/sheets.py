"""Sheets: the tables of a run cut by device, one network on one device each, and pages to put them on where there are many."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

from reports.contests import is_part, network_of
from reports.findings import Findings
from reports.sweeps import Sweep, sweeps
from reports.table import Entry, Row, Table

MAX_ROWS = 600
"""Rows that one page holds; a run with more gets a page for each model and each device."""


class Sheet(NamedTuple):
    """One workload on one device."""

    model: str
    target: str
    network: str
    """The model; of a layer whose network is in the run too, that network."""
    table: Table
    download: str
    """Name of the files that hold all rows of the model."""
    sweeps: tuple[Sweep, ...]
    origins: tuple[str, ...]
    """Where its times come from, if not all are measured."""

    @property
    def is_layer(self) -> bool:
        return self.network != self.model


class Page(NamedTuple):
    """The sheets of one model or of one device."""

    axis: Literal["model", "target"]
    label: str
    file: str
    sheets: tuple[Sheet, ...]


def cut_into_sheets(findings: Findings, tables: Sequence[Table]) -> tuple[Sheet, ...]:
    """`tables`: one for each model, in order."""
    networks = {
        place.model: network_of(record) if is_part(findings, record) else place.model
        for place, record in findings.matrix.records.items()
    }
    found = []
    for model, table in zip(findings.matrix.labels["model"], tables, strict=True):
        for target, whole in cut(table, "target").items():
            piece = without_idle(whole, "instructions")
            target = target or findings.matrix.labels["target"][0]
            origins = {entry.origin for row in piece.rows for entry in row.entries if entry.metric == "latency"} - {
                None,
                "measured",
            }
            found.append(
                Sheet(
                    model, target, networks[model], piece, table.name, sweeps(findings, piece), tuple(sorted(map(str, origins)))
                )
            )
    return tuple(found)


def without_idle(table: Table, metric: str) -> Table:
    """Without the last column, if it is that of this metric and no row has a number there: a device that counts nothing needs none."""
    if table.columns[-1].metric != metric or any(row.entries[-1].value is not None for row in table.rows):
        return table

    def shorter(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        last = entries[-1]
        return entries[:-1] if last.span == 1 else (*entries[:-1], dataclasses.replace(last, span=last.span - 1))

    rows = tuple(Row(row.labels, shorter(row.entries)) for row in table.rows)
    return dataclasses.replace(table, columns=table.columns[:-1], rows=rows)


def pages_of(sheets: Sequence[Sheet], max_rows: int = MAX_ROWS) -> tuple[Page, ...]:
    """No page where the index has room for all."""
    if sum(len(sheet.table.rows) for sheet in sheets) <= max_rows:
        return ()
    by_network: dict[str, list[Sheet]] = {}
    by_target: dict[str, list[Sheet]] = {}
    for sheet in sheets:
        by_network.setdefault(sheet.network, []).append(sheet)
        by_target.setdefault(sheet.target, []).append(sheet)
    models = [Page("model", label, f"models/{n}.html", tuple(mine)) for n, (label, mine) in enumerate(by_network.items(), 1)]
    devices = [Page("target", label, f"devices/{n}.html", tuple(mine)) for n, (label, mine) in enumerate(by_target.items(), 1)]
    return (*models, *devices)


def cut(table: Table, axis: str) -> dict[str, Table]:
    """The rows of each label of a row axis as a table of their own, without that column; all in one where it has no such axis."""
    if axis not in table.axes:
        return {"": table}
    at = table.axes.index(axis)
    rows: dict[str, list[Row]] = {}
    for row in table.rows:
        rows.setdefault(row.labels[at], []).append(Row((*row.labels[:at], *row.labels[at + 1 :]), row.entries))
    axes = (*table.axes[:at], *table.axes[at + 1 :])
    return {
        label: dataclasses.replace(
            table, spec=dataclasses.replace(table.spec, name=f"{table.name}-{n}"), axes=axes, rows=tuple(mine)
        )
        for n, (label, mine) in enumerate(rows.items(), start=1)
    }
