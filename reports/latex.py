r"""Tables as LaTeX that needs only `booktabs`: several header rows, the interval beneath each value, notes as plain text.

Byte-stable: equal records give equal text, and a comment carries the hash of the records.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from reports.rounding import Printed
from reports.table import Entry, Row, Table

WIDE_COLUMNS = 10
"""From this many columns on, a whole document is set on A3."""

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"\texttt{\char34}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # after a line's end these would be read as its arguments
    "×": r"$\times$", "µ": r"$\mu$", "μ": r"$\mu$", "−": "$-$", "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$",
    "≠": r"$\neq$", "→": r"$\rightarrow$", "·": r"$\cdot$", "°": r"$^\circ$", "–": "--", "—": "---", "…": r"\ldots{}",
    "‘": "`", "’": "'", "“": "``", "”": "''", "\u00a0": "~", "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}",
    "Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}",
}  # fmt: skip
_LIGATURES = frozenset({"--", "''", "``", ",,", "?`", "!`"})
_ACCENTS = {
    "\u0300": r"\`", "\u0301": r"\'", "\u0302": r"\^", "\u0303": r"\~", "\u0304": r"\=", "\u0306": r"\u", "\u0307": r"\.",
    "\u0308": r"\"", "\u030a": r"\r", "\u030b": r"\H", "\u030c": r"\v", "\u0323": r"\d", "\u0327": r"\c",
}  # fmt: skip


def latex(table: Table) -> str:
    """A `table` float, to be read by `\\input` from a paper that loads booktabs."""
    lines = [
        f"% Made by Assay. Records: sha256 {table.sha256}",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{escape(table.caption)}}}",
        rf"\label{{tab:{re.sub('[^A-Za-z0-9-]+', '-', table.name)}}}",
        r"\small",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\begin{{tabular}}{{@{{}}{'l' * len(table.axes)}{'r' * len(table.columns)}@{{}}}}",
        r"\toprule",
        *_head(table),
        r"\midrule",
        *_body(table),
        r"\bottomrule",
        r"\end{tabular}",
        *_notes(table),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def standalone(table: Table) -> str:
    """A whole document around the table, to look at it or to check that it compiles."""
    paper = "a3paper" if len(table.axes) + len(table.columns) >= WIDE_COLUMNS else "a4paper"
    lines = [
        r"\documentclass{article}",
        rf"\usepackage[{paper},landscape,margin=12mm]{{geometry}}",
        r"\usepackage{booktabs}",
        r"\pagestyle{empty}",
        r"\begin{document}",
        latex(table).rstrip("\n"),
        r"\end{document}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Any text as LaTeX that prints it and does nothing else. A character that pdflatex lacks prints as its code point: U+4E2D."""
    return "".join(_escaped(unicodedata.normalize("NFC", " ".join(text.split()))))


def _escaped(text: str) -> Iterator[str]:
    before = ""
    for character in text:
        if before + character in _LIGATURES:
            yield "{}"
        before = character
        if character in _SPECIAL:
            yield _SPECIAL[character]
        elif " " <= character <= "~":
            yield character
        else:
            base, *accents = list(unicodedata.normalize("NFD", character))
            if len(accents) == 1 and accents[0] in _ACCENTS and base.isascii() and base.isalpha():
                yield f"{_ACCENTS[accents[0]]}{{{base}}}"
            else:
                yield rf"\texttt{{U+{ord(character):04X}}}"


def _head(table: Table) -> Iterator[str]:
    margin = [""] * len(table.axes)
    if table.has_groups:
        yield _line([*margin, *(rf"\multicolumn{{{width}}}{{c}}{{{escape(label)}}}" for label, width in table.groups)])
        first = len(table.axes) + 1
        rules = []
        for _, width in table.groups:
            rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
            first += width
        yield " ".join(rules)
    yield _line([*map(escape, table.axes), *(_centred(escape(column.title)) for column in table.columns)])
    yield _line([*margin, *(_centred(escape(column.unit)) for column in table.columns)])


def _body(table: Table) -> Iterator[str]:
    """A label is printed once for the rows that share it, and a little space parts the groups of the first one."""
    before: tuple[str, ...] = ()
    for row in table.rows:
        if before and row.labels[0] != before[0] and len(row.labels) > 1:
            yield r"\addlinespace"
        has_intervals = any(entry.printed.low for entry in row.entries)
        yield _line([*_labels(row, before), *map(_value, row.entries)]) + ("[-3pt]" if has_intervals else "")
        if has_intervals:
            yield _line([*[""] * len(row.labels), *map(_interval, row.entries)]) + "[2pt]"
        before = row.labels


def _labels(row: Row, before: tuple[str, ...]) -> Iterator[str]:
    for index, label in enumerate(row.labels):
        repeats = index < len(row.labels) - 1 and row.labels[: index + 1] == before[: index + 1]
        yield "" if repeats else escape(label)


def _value(entry: Entry) -> str:
    text = escape(entry.printed.value)
    text = rf"\textbf{{{text}}}" if entry.best else text
    marks = rf"\textsuperscript{{{','.join(entry.marks)}}}" if entry.marks else ""
    return rf"\multicolumn{{{entry.span}}}{{c}}{{{text}{marks}}}" if entry.span > 1 else text + marks


def _interval(entry: Entry) -> str:
    printed: Printed = entry.printed
    if printed.low:
        return rf"{{\scriptsize [{escape(printed.low)}, {escape(printed.high)}]}}"
    return rf"\multicolumn{{{entry.span}}}{{c}}{{}}" if entry.span > 1 else ""


def _notes(table: Table) -> Iterator[str]:
    if not table.notes:
        return
    yield ""
    yield r"\smallskip"
    yield r"\begin{minipage}{\linewidth}\footnotesize\raggedright"
    for note in table.notes:
        yield rf"\textsuperscript{{{note.mark}}}\,{escape(note.text)}\\"
    yield r"\end{minipage}"


def _centred(text: str) -> str:
    return rf"\multicolumn{{1}}{{c}}{{{text}}}"


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
