r"""Tables as LaTeX: several header rows, numbers aligned at the point, the interval beneath each value, notes as plain text.

Byte-stable: equal records give equal text, and a comment carries the hash of the records and the packages that are needed.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from reports.figures import Figure
from reports.matrix import axis_title
from reports.rounding import Printed
from reports.table import Entry, Row, Table, levels

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"\texttt{\char34}", "`": r"\textasciigrave{}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # after a line's end these would be read as its arguments
    "×": r"$\times$", "µ": r"$\mu$", "μ": r"$\mu$", "−": "$-$", "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$",
    "≠": r"$\neq$", "→": r"$\rightarrow$", "·": r"$\cdot$", "°": r"$^\circ$", "–": "--", "—": "---", "…": r"\ldots{}",
    "‘": "`", "’": "'", "“": "``", "”": "''", "\u00a0": "~", "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}",
    "Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}",
}  # fmt: skip
_LIGATURES = frozenset({"--", "''", ",,"})
_ACCENTS = {
    "\u0300": r"\`", "\u0301": r"\'", "\u0302": r"\^", "\u0303": r"\~", "\u0304": r"\=", "\u0306": r"\u", "\u0307": r"\.",
    "\u0308": r"\"", "\u030a": r"\r", "\u030b": r"\H", "\u030c": r"\v", "\u0323": r"\d", "\u0327": r"\c",
}  # fmt: skip
_LONG_TITLE = 12
"""Characters from which on a column's title is set on two lines."""


def latex(table: Table) -> str:
    r"""The table as its suite wants it set, to be read by `\input` from a paper that loads `packages(table)`."""
    spec = table.spec
    label = spec.label or f"tab:{spec.name}"
    lines = [
        f"% Made by Assay. Records: sha256 {table.sha256}",
        rf"% Needs \usepackage{{{','.join(packages(table))}}}",
    ]
    top = [
        r"\setlength{\belowcaptionskip}{4pt}",
        rf"\caption{{{escape(spec.caption)}}}",
        rf"\label{{{re.sub('[^A-Za-z0-9:-]+', '-', label)}}}",
    ]
    size = [r"\small", rf"\setlength{{\tabcolsep}}{{{_column_gap(table)}pt}}"]
    if spec.siunitx:
        size.append(
            r"\sisetup{detect-weight=true,mode=text,separate-uncertainty=true,retain-explicit-plus=true,table-align-text-after=false}"
        )
    if spec.environment == "longtable":
        lines += [r"\begingroup", *size, *_long(table, top[1:]), *_notes(table), r"\endgroup"]
    else:
        opening = "" if spec.environment == "sidewaystable" else "[t]"
        lines += [rf"\begin{{{spec.environment}}}{opening}", r"\centering", *top, *size]
        for part, columns in enumerate(_parts(table)):
            lines += [r"\par\medskip"] if part else []
            lines += _shrunk(_tabular(table, columns)) if spec.wide == "shrink" else _tabular(table, columns)
        lines += [*_notes(table), rf"\end{{{spec.environment}}}"]
    return "\n".join(lines) + "\n"


def packages(table: Table) -> tuple[str, ...]:
    """What a paper must load for this table, sorted."""
    spec = table.spec
    needed = {"booktabs"} | ({"siunitx"} if spec.siunitx else set())
    needed |= {"longtable"} if spec.environment == "longtable" else {"graphicx"} if spec.wide == "shrink" else set()
    return tuple(sorted(needed | ({"rotating"} if spec.environment == "sidewaystable" else set())))


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


class _Digits(NamedTuple):
    """Room that the numbers of one column take: with it all are equally wide, so they align at the point and stand centred."""

    signed: bool
    before: int
    """Digits before the point."""
    after: int
    half_before: int
    """The same of half an interval, whose digits after the point are as many as its value's; 0 where there is none."""
    half: int
    """Significant digits of half an interval."""


def _parts(table: Table) -> Iterator[range]:
    """Indices of the columns of each part: one for each top header where the table is to be split."""
    if table.spec.wide != "split" or not table.levels:
        yield range(len(table.columns))
        return
    ends = [0, *itertools.accumulate(width for _, width in table.levels[0])]
    yield from itertools.starmap(range, itertools.pairwise(ends))


def _shrunk(tabular: Sequence[str]) -> Iterator[str]:
    """As wide as the column of the page, if it would be wider."""
    yield r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    yield from tabular
    yield "}"


def _tabular(table: Table, columns: range) -> list[str]:
    return [
        rf"\begin{{tabular}}{{{_kinds(table, columns)}}}",
        r"\toprule",
        *_head(table, columns),
        r"\midrule",
        *_body(table, columns),
        r"\bottomrule",
        r"\end{tabular}%",
    ]


def _long(table: Table, top: Sequence[str]) -> Iterator[str]:
    """The caption and the header over the first page, the header over each further one."""
    columns = range(len(table.columns))
    width = len(table.axes) + len(columns)
    head = [r"\toprule", *_head(table, columns), r"\midrule"]
    yield rf"\begin{{longtable}}{{{_kinds(table, columns)}}}"
    yield from (*top, r"\\", *head, r"\endfirsthead", *head, r"\endhead")
    yield from (r"\midrule", rf"\multicolumn{{{width}}}{{r@{{}}}}{{\emph{{continued on the next page}}}} \\", r"\endfoot")
    yield from (r"\bottomrule", r"\endlastfoot", *_body(table, columns), r"\end{longtable}")


def _kinds(table: Table, columns: range) -> str:
    kinds = "c" * len(columns)
    if table.spec.siunitx:
        kinds = "".join(_siunitx_kind(_digits(table, index)) for index in columns)
    hangs = any(entry.marks for row in table.rows for at, entry in _placed(row) if at + entry.span == columns.stop)
    return f"@{{}}{'l' * len(table.axes)}{kinds}{'' if hangs else '@{}'}"


def _siunitx_kind(digits: _Digits) -> str:
    half = f"({digits.half})" if digits.half else ""
    return f"S[table-format={'-' * digits.signed}{digits.before}.{digits.after}{half}]"


def _digits(table: Table, index: int) -> _Digits:
    """Of the numbers in one column; those that span several are set apart from it."""
    printed = [e.printed for row in table.rows for at, e in _placed(row) if at == index and e.span == 1 and e.value is not None]
    halves = [p.half for p in printed if p.half]
    return _Digits(
        any(p.value[0] in "+−" for p in printed),
        max((len(_whole(p.value)) for p in printed), default=1),
        max((_decimals(p.value) for p in printed), default=0),
        max((len(_whole(half)) for half in halves), default=0),
        max((len(half.replace(".", "").lstrip("0")) for half in halves), default=0),
    )


def _whole(number: str) -> str:
    return number.lstrip("+−").partition(".")[0]


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])


def _placed(row: Row) -> Iterator[tuple[int, Entry]]:
    """Each entry and the index of its first column."""
    at = 0
    for entry in row.entries:
        yield at, entry
        at += entry.span


def _column_gap(table: Table) -> float:
    """Half the space between columns, in points: marks hang into it."""
    letters = max((len(",".join(entry.marks)) for row in table.rows for entry in row.entries), default=0)
    return max(4.0, 1.5 + 2.2 * letters)


def _head(table: Table, columns: range) -> Iterator[str]:
    margin = [""] * len(table.axes)
    shown = [table.columns[index] for index in columns]
    for groups in levels(shown):
        yield _line([*margin, *(rf"\multicolumn{{{width}}}{{c}}{{{escape(label)}}}" for label, width in groups)])
        ends = itertools.accumulate((width for _, width in groups), initial=len(table.axes))
        yield " ".join(rf"\cmidrule(lr){{{first + 1}-{last}}}" for first, last in itertools.pairwise(ends))
    yield _line([*map(escape, map(axis_title, table.axes)), *(_centred(column.title) for column in shown)])
    if table.has_unit_line and any(column.unit for column in shown):
        yield _line([*margin, *(_centred(column.unit) for column in shown)])


def _body(table: Table, columns: range) -> Iterator[str]:
    """A label is printed once for the rows that share it, and a little space parts the groups of the first one."""
    before: tuple[str, ...] = ()
    digits = {index: _digits(table, index) for index in columns}
    for row in table.rows:
        if before and row.labels[0] != before[0] and len(row.labels) > 1:
            yield r"\addlinespace"
        placed = [(at, entry) for at, entry in _placed(row) if at in columns]
        has_intervals = any(entry.printed.low for _, entry in placed)
        values = (_value(entry, digits[at], table.spec.siunitx) for at, entry in placed)
        yield _line([*_labels(row, before), *values]) + ("*[-3pt]" if has_intervals else "")
        if has_intervals:
            yield _line([*[""] * len(row.labels), *(_interval(entry) for _, entry in placed)]) + "[2pt]"
        before = row.labels


def _labels(row: Row, before: tuple[str, ...]) -> Iterator[str]:
    for index, label in enumerate(row.labels):
        repeats = index < len(row.labels) - 1 and row.labels[: index + 1] == before[: index + 1]
        yield "" if repeats else escape(label)


def _value(entry: Entry, digits: _Digits, siunitx: bool) -> str:
    """A number, its marks hanging out; what is no number, or one for several columns, stands in the middle of them."""
    marks = rf"\rlap{{\textsuperscript{{{','.join(entry.marks)}}}}}" if entry.marks else ""
    printed = entry.printed
    if siunitx and entry.value is not None and entry.span == 1:
        number = printed.value.replace("−", "-") + (rf" \pm {printed.half}" if printed.half else "")
        return (r"\bfseries " if entry.best else "") + number + (f" {{{marks}}}" if marks else "")
    text = escape(printed.value) + (rf"\,$\pm$\,{printed.half}" if printed.half else "")
    text = (_bold(text) if entry.best else text) + marks
    if entry.value is None or entry.span > 1:
        return rf"\multicolumn{{{entry.span}}}{{c}}{{{text}}}"
    return _before(printed, digits) + text + _after(printed, digits)


def _before(printed: Printed, digits: _Digits) -> str:
    sign = "$-$" if digits.signed and printed.value[0] not in "+−" else ""
    return _phantom(sign + "0" * (digits.before - len(_whole(printed.value))))


def _after(printed: Printed, digits: _Digits) -> str:
    """What the value lacks after its point, and the half of its interval with it."""
    decimals = _decimals(printed.value)
    lacks = "." * (decimals == 0 < digits.after) + "0" * (digits.after - decimals)
    if not digits.half_before:
        return _phantom(lacks)
    if not printed.half:
        return _phantom(rf"{lacks}\,$\pm$\,{'0' * digits.half_before}{'.' * (digits.after > 0)}{'0' * digits.after}")
    return _phantom(lacks + lacks + "0" * (digits.half_before - len(_whole(printed.half))))


def _phantom(text: str) -> str:
    return rf"\hphantom{{{text}}}" if text else ""


def _bold(text: str) -> str:
    return rf"\textbf{{{text}}}"


def _interval(entry: Entry) -> str:
    printed: Printed = entry.printed
    text = rf"\scriptsize [{escape(printed.low)}, {escape(printed.high)}]" if printed.low else ""
    if entry.span > 1:
        return rf"\multicolumn{{{entry.span}}}{{c}}{{{text}}}"
    return f"{{{text}}}" if text else ""


def _notes(table: Table) -> Iterator[str]:
    """All notes in one paragraph, as wide as the page's column."""
    if not table.notes:
        return
    texts = [rf"\textsuperscript{{{note.mark}}}\,{escape(note.text)}" for note in table.notes]
    yield r"\par\smallskip"
    yield r"\noindent\begin{minipage}{\linewidth}\footnotesize\raggedright"
    yield ";\\quad\n".join(texts) + "."
    yield r"\end{minipage}"


def _centred(text: str) -> str:
    """A title or unit over its column; a long one broken at the space nearest to its middle."""
    spaces = [index for index, character in enumerate(text) if character == " "]
    if len(text) > _LONG_TITLE and spaces:
        at = min(spaces, key=lambda index: abs(2 * index - len(text)))
        lines = rf"{escape(text[:at])}\\{escape(text[at:])}"
        return rf"\multicolumn{{1}}{{c}}{{\begin{{tabular}}[b]{{@{{}}c@{{}}}}{lines}\end{{tabular}}}}"
    return rf"\multicolumn{{1}}{{c}}{{{escape(text)}}}"


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def proof(tables: Sequence[Table], figures: Sequence[Figure]) -> str:
    """A whole document that reads every table and figure from its file: to look at them, and to copy the lines that a paper needs."""
    needed = sorted({"geometry", "graphicx", *(name for table in tables for name in packages(table))})
    lines = [
        "% In this folder: pdflatex all.tex",
        r"\documentclass[10pt]{article}",
        *(rf"\usepackage{{{name}}}" for name in needed),
        r"\geometry{textwidth=7in,textheight=9in}",
        r"\begin{document}",
    ]
    for table in tables:
        lines += [rf"\input{{{table.name}.tex}}", r"\clearpage"]
    for figure in figures:
        lines += [
            r"\begin{figure}[t]",
            r"\centering",
            rf"\includegraphics{{../figures/{figure.name}.pdf}}",
            rf"\caption{{{escape(figure.title)}}}",
            rf"\label{{{figure.label}}}",
            r"\end{figure}",
        ]
    return "\n".join([*lines, r"\end{document}"]) + "\n"
