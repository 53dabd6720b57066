"""Tables as Markdown and HTML (for reading) and CSV (for computing: one line a number, SI units, twelve digits)."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterator

from reports.matrix import axis_title
from reports.table import Column, Entry, Row, Table

CSV_COLUMNS = (
    "metric", "status", "origin", "value", "low", "high", "unit", "printed", "printed_unit", "significant", "best", "notes",
    "record",
)  # fmt: skip
"""What follows the axes in a CSV line."""

_MARKDOWN_SPECIAL = re.compile(r"([\\`*<>\[\]|~#&!$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def markdown(table: Table) -> str:
    """A GitHub-flavoured table: `3.21 [3.10, 3.33]`, bold only where really best, notes beneath."""
    heads = [*map(axis_title, table.axes), *(_markdown_head(column, table.has_unit_line) for column in table.columns)]
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


def html_table(table: Table) -> str:
    """A `<table>` without a style of its own, for any page: header over its columns, notes beneath."""
    lines = [f"<!-- records sha256 {table.sha256} -->", "<table>", f"<caption>{_escape_html(table.caption)}</caption>", "<thead>"]
    for level in table.levels:
        heads = "".join(f'<th scope="colgroup" colspan="{width}">{_escape_html(label)}</th>' for label, width in level)
        lines.append(f"<tr>{'<td></td>' * len(table.axes)}{heads}</tr>")
    units = [f" ({column.unit})" if column.unit and table.has_unit_line else "" for column in table.columns]
    titles = [*map(axis_title, table.axes), *(f"{column.title}{unit}" for column, unit in zip(table.columns, units, strict=True))]
    lines += [f"<tr>{''.join(_th('col', title) for title in titles)}</tr>", "</thead>", "<tbody>"]
    for row in table.rows:
        labels, entries = (_th("row", label) for label in row.labels), map(_html_cell, row.entries)
        lines.append(f"<tr>{''.join((*labels, *entries))}</tr>")
    lines += ["</tbody>", "</table>"]
    lines += [f"<p><small><sup>{note.mark}</sup> {_escape_html(note.text)}</small></p>" for note in table.notes]
    return "\n".join(lines) + "\n"


def _html_cell(entry: Entry) -> str:
    value = f"<b>{entry.printed.value}</b>" if entry.best else entry.printed.value
    marks = f"<sup>{','.join(entry.marks)}</sup>" if entry.marks else ""
    span = f' colspan="{entry.span}"' if entry.span > 1 else ""
    return f"<td{span}>{value}{marks}{_interval(entry)}</td>"


def _th(scope: str, text: str) -> str:
    return f'<th scope="{scope}">{_escape_html(text)}</th>'


def _escape_html(text: str) -> str:
    return html.escape(" ".join(text.split()))


def escape_markdown(text: str) -> str:
    return _MARKDOWN_SPECIAL.sub(r"\\\1", " ".join(text.split()))


def csv_text(table: Table) -> str:
    """One line for each row label combination, column label and metric; cells without a number keep their status and reason."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((*table.axes, *table.column_axes, *CSV_COLUMNS))
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
                    *map(_inert, column.labels),
                    _inert(column.metric),
                    entry.status or "absent",
                    entry.origin or "",
                    *numbers,
                    entry.unit,
                    f"{entry.printed.value}{_interval(entry)}" if has_number else "",
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


def _markdown_head(column: Column, has_unit: bool) -> str:
    unit = f" ({column.unit})" if column.unit and has_unit else ""
    return "<br>".join(map(escape_markdown, column.heads)) + unit


def _markdown_cells(row: Row) -> Iterator[str]:
    for entry in row.entries:
        value = f"**{entry.printed.value}**" if entry.best else entry.printed.value
        marks = f"<sup>{','.join(entry.marks)}</sup>" if entry.marks else ""
        yield f"{value}{_interval(entry)}{marks}"
        yield from [""] * (entry.span - 1)


def _interval(entry: Entry) -> str:
    if entry.printed.half:
        return f" ± {entry.printed.half}"
    return f" [{entry.printed.low}, {entry.printed.high}]" if entry.printed.low else ""


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
