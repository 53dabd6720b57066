"""Tables as Markdown (for reading) and CSV (for computing: one line a number, SI units, twelve digits)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from reports.table import Column, Entry, Row, Table

CSV_COLUMNS = (
    "column", "metric", "status", "origin", "value", "low", "high", "unit", "printed", "printed_unit", "significant", "best", "notes",
    "record",
)  # fmt: skip
"""What follows the row axes in a CSV line."""

_MARKDOWN_SPECIAL = re.compile(r"([\\`*<>\[\]|~#&!$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def markdown(table: Table) -> str:
    """A GitHub-flavoured table: `3.21 [3.10, 3.33]`, bold only where really best, notes beneath."""
    heads = [*table.axes, *(_markdown_head(column) for column in table.columns)]
    lines = [
        f"**{escape_markdown(table.caption)}**",
        "",
        _line(heads),
        _line(["---"] * len(table.axes) + ["--:"] * len(table.columns)),
        *(_line([*map(escape_markdown, row.labels), *_markdown_cells(row)]) for row in table.rows),
        "",
        *(f"<sup>{note.mark}</sup> {escape_markdown(note.text)}  " for note in table.notes),
        *([""] if table.notes else []),
        f"<!-- records sha256 {table.sha256} -->",
    ]
    return "\n".join(lines if table.caption else lines[2:]) + "\n"


def escape_markdown(text: str) -> str:
    return _MARKDOWN_SPECIAL.sub(r"\\\1", " ".join(text.split()))


def csv_text(table: Table) -> str:
    """One line for each row label combination, column label and metric; cells without a number keep their status and reason."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((*table.axes, *CSV_COLUMNS))
    reasons = {note.mark: note.text for note in table.notes}
    for row in table.rows:
        for column, entry in _spread(table, row):
            notes = "; ".join(reasons[mark] for mark in entry.marks)
            flags = ("" if entry.significant is None else str(entry.significant).lower(), str(entry.best).lower())
            numbers = ("" if v is None else f"{v:.12g}" for v in (entry.value, entry.low, entry.high))
            has_number = entry.value is not None
            writer.writerow(
                (
                    *map(_inert, row.labels),
                    _inert(column.group),
                    _inert(column.metric),
                    entry.status or "absent",
                    entry.origin or "",
                    *numbers,
                    entry.unit,
                    _interval_text(entry) if has_number else "",
                    column.unit if has_number else "",
                    *flags,
                    _inert(notes),
                    entry.record_id or "",
                )
            )
    return file.getvalue()


def _inert(text: str) -> str:
    """A spreadsheet must not take a name for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _spread(table: Table, row: Row) -> Iterator[tuple[Column, Entry]]:
    """(column, entry) for every column: an entry that spans several stands under each."""
    columns = iter(table.columns)
    for entry in row.entries:
        for _ in range(entry.span):
            yield next(columns), entry


def _markdown_head(column: Column) -> str:
    unit = f" ({column.unit})" if column.unit else ""
    group = f"{escape_markdown(column.group)}<br>" if column.group else ""
    return f"{group}{escape_markdown(column.title)}{unit}"


def _markdown_cells(row: Row) -> Iterator[str]:
    for entry in row.entries:
        value = f"**{entry.printed.value}**" if entry.best else entry.printed.value
        interval = f" [{entry.printed.low}, {entry.printed.high}]" if entry.printed.low else ""
        marks = f"<sup>{','.join(entry.marks)}</sup>" if entry.marks else ""
        yield f"{value}{interval}{marks}"
        yield from [""] * (entry.span - 1)


def _interval_text(entry: Entry) -> str:
    low = f" [{entry.printed.low}, {entry.printed.high}]" if entry.printed.low else ""
    return f"{entry.printed.value}{low}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
