"""The tables and figures that a suite asks for, as the files a paper takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reports import drawing
from reports.figures import Figure, draw
from reports.findings import Findings
from reports.latex import latex, proof
from reports.table import Table, paper_table
from reports.text import csv_text, html_table, markdown
from results.paper import FigureSpec, spec_from_json
from results.printable import printable

PROOF = "all"
"""`tables/all.tex` sets everything; no table of a suite can have this name."""
FORMATS: Mapping[str, Callable[[Table], str]] = {"tex": latex, "csv": csv_text, "md": markdown, "html": html_table}
"""Suffix -> how a table is written."""


def paper_tables(findings: Findings, taken: Iterable[str] = ()) -> list[Table]:
    """The tables that the suite asks for; none has the name of another file."""
    return [paper_table(spec, findings) for spec in _named(findings.run.document.get("tables", ()), "table", {PROOF, *taken})]


def paper_figures(findings: Findings, taken: Iterable[str] = ()) -> list[Figure]:
    """The figures that the suite asks for, each as SVG and PDF, or with the reason why it could not be drawn."""
    specs = (spec_from_json(FigureSpec, one) for one in _named(findings.run.document.get("figures", ()), "figure", set(taken)))
    return [_with_pdf(spec, draw(spec, findings, printable(spec.caption) or spec.name)) for spec in specs]


def write_tables(tables: Iterable[Table], folder: Path) -> None:
    for table in tables:
        for suffix, written in FORMATS.items():
            (folder / f"{table.name}.{suffix}").write_text(written(table), encoding="utf-8")


def write_figures(figures: Iterable[Figure], folder: Path) -> None:
    for figure in figures:
        if figure.svg is not None:
            (folder / f"{figure.name}.svg").write_text(figure.svg, encoding="utf-8")
        if figure.pdf is not None:
            (folder / f"{figure.name}.pdf").write_bytes(figure.pdf)


def write_proof(tables: Sequence[Table], figures: Iterable[Figure], folder: Path) -> None:
    """`pdflatex all.tex`, run in the tables' folder, sets every table and figure of the paper."""
    drawn = [figure for figure in figures if figure.pdf is not None]
    if tables or drawn:
        (folder / f"{PROOF}.tex").write_text(proof(tables, drawn), encoding="utf-8")


def _named(specs: Iterable[Mapping[str, Any]], noun: str, taken: set[str]) -> Iterator[dict[str, Any]]:
    """A name becomes a file name: what cannot be in one is replaced, and no two are alike."""
    for spec in specs:
        name = base = re.sub(r"[^A-Za-z0-9_-]+", "-", str(spec["name"]))[:64] or noun
        count = 1
        while name in taken:
            count += 1
            name = f"{base}-{count}"
        taken.add(name)
        yield {**spec, "name": name}


def _with_pdf(spec: FigureSpec, figure: Figure) -> Figure:
    """A font that this machine lacks would silently leave all text out."""
    if figure.svg is None:
        return figure
    document = drawing.pdf(figure.svg)
    if not any(name.startswith(spec.font.replace(" ", "")) for name in drawing.fonts(document)):
        sentence = f"The font {spec.font} is not installed where this report was made; {drawing.FONT} is everywhere."
        return replace(figure, svg=None, sentence=sentence)
    return replace(figure, pdf=document, label=spec.label or f"fig:{spec.name}")
