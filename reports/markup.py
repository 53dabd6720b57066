"""A table as HTML. Written by hand, not as a template, to be fast for thousands of rows.

Every number says where it comes from: `data-record` on its row or cell names the record, `data-metric`, `data-value`, `data-low`
and `data-high` (SI units, twelve digits) on its cell what is printed there. The page's script sorts by them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from reports.matrix import axis_title
from reports.page import breakable, escape
from reports.table import Entry, Row, Table, letter


def table_markup(table: Table, title: str, cells: str = "") -> Markup:
    """The table, its notes beneath. `cells`: folder of the cells' pages, where the last label of each row leads to its own."""
    letters = _letters(table)
    return Markup("".join(_parts(table, title, cells, letters)))  # noqa: S704 - every text is escaped below


def _parts(table: Table, title: str, cells: str, letters: dict[str, str]) -> Iterator[str]:
    name = escape(f"table-{table.name}")
    texts = {note.mark: escape(note.text) for note in table.notes}
    yield f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(title)}"><table class="numbers" id="{name}"><thead>'
    for level in table.levels:
        spacer = f'<td colspan="{len(table.axes)}"></td>' if table.axes else ""
        heads = "".join(f'<th scope="colgroup" class="group" colspan="{width}">{escape(label)}</th>' for label, width in level)
        yield f"<tr>{spacer}{heads}</tr>"
    yield "<tr>"
    for axis in table.axes:
        yield f'<th scope="col" data-axis="{escape(axis)}">{escape(axis_title(axis))}</th>'
    for column in table.columns:
        unit = f'<span class="unit">{escape(column.unit)}</span>' if column.unit and table.has_unit_line else ""
        yield f'<th scope="col" class="number" data-metric="{escape(column.metric)}">{breakable(column.title)}{unit}</th>'
    yield "</tr></thead><tbody>"
    before: Sequence[str] = ()
    for row in table.rows:
        yield from _row(row, before, table, cells, texts, letters, str(name))
        before = row.labels
    yield "</tbody></table></div>"
    if letters:
        notes = (f'<li id="{name}-{new}"><sup>{new}</sup> {texts[mark]}</li>' for mark, new in letters.items())
        yield f'<ul class="notes">{"".join(notes)}</ul>'


def _row(
    row: Row, before: Sequence[str], table: Table, cells: str, texts: dict[str, Markup], letters: dict[str, str], name: str
) -> Iterator[str]:
    """One record a row where the columns are metrics alone; else each number names its own."""
    record = escape(row.entries[0].record_id) if row.entries and row.entries[0].record_id and not table.column_axes else None
    begins_part = ' class="part"' if before and row.labels[:-1] != before[:-1] else ""
    yield f'<tr{begins_part} data-record="{record}">' if record else f"<tr{begins_part}>"
    for depth, label in enumerate(row.labels, start=1):
        is_own = depth == len(row.labels)
        text = f'<a href="{cells}{record}.html">{breakable(label)}</a>' if is_own and cells and record else breakable(label)
        kind = ' class="own"' if is_own else ' class="again"' if row.labels[:depth] == before[:depth] else ""
        yield f'<th scope="row"{kind}>{text}</th>'
    for entry in row.entries:
        yield _cell(entry, record, texts, letters, name)
    yield "</tr>"


def _cell(entry: Entry, row_record: Markup | None, texts: dict[str, Markup], letters: dict[str, str], name: str) -> str:
    marks = ",".join(f'<a href="#{name}-{letters[m]}" title="{texts[m]}">{letters[m]}</a>' for m in entry.marks)
    marks = f"<sup>{marks}</sup>" if marks else ""
    span = f' colspan="{entry.span}"' if entry.span > 1 else ""
    if entry.value is None:
        kind = "status" if entry.status not in (None, "ok") else "none"
        return f'<td class="{kind}"{span}>{escape(entry.printed.value)}{marks}</td>'
    record = f' data-record="{escape(entry.record_id)}"' if row_record is None else ""
    ends = (
        f' data-low="{entry.low:.12g}" data-high="{entry.high:.12g}"' if entry.low is not None and entry.high is not None else ""
    )
    printed = entry.printed
    value = f"<b>{printed.value}</b>" if entry.best else printed.value
    if entry.significant is False:
        value = f'<span class="even">{value}</span>'
    half = f" ± {printed.half}" if printed.half else ""
    interval = f'<span class="interval">{printed.low} – {printed.high}</span>' if printed.low else ""
    return f'<td{span}{record} data-metric="{escape(entry.metric)}" data-value="{entry.value:.12g}"{ends}>{value}{half}{marks}{interval}</td>'


def _letters(table: Table) -> dict[str, str]:
    """The notes that the rows use, lettered anew in the order of reading: a table that was cut in pieces uses some of them."""
    used = dict.fromkeys(itertools.chain.from_iterable(entry.marks for row in table.rows for entry in row.entries))
    return {mark: letter(index) for index, mark in enumerate(used)}
