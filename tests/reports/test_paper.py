from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.findings import Findings, examine
from reports.paper import FORMATS, PROOF, paper_figures, paper_tables, write_figures, write_proof, write_tables
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
BARS = {"name": "bars", "kind": "speedup_bars", "caption": "Speed-up & more.", "only": {"model": ["cnn"]}}


@pytest.fixture
def asked(smoke_records: list[Record], make_run: MakeRun) -> Callable[..., Findings]:
    def ask(**document: Any) -> Findings:
        return examine(make_run(smoke_records, **document), smoke_records)

    return ask


def test_names_become_files_and_no_two_are_alike(asked: Callable[..., Findings]) -> None:
    names = ["a b", "a/b", "all", "../../x", "model-1", "中" * 100]
    tables = paper_tables(asked(tables=[{"name": name} for name in names]), taken=["model-1"])
    assert [table.name for table in tables] == ["a-b", "a-b-2", "all-2", "-x", "model-1-2", "-"]
    figures = paper_figures(asked(figures=[BARS, BARS]), taken=["bars"])
    assert [figure.name for figure in figures] == ["bars-2", "bars-3"]


def test_a_table_is_written_in_every_format_and_a_figure_in_two(asked: Callable[..., Findings], tmp_path: Path) -> None:
    findings = asked(tables=[{"name": "t", "caption": "100 %"}], figures=[BARS])
    tables, figures = paper_tables(findings), paper_figures(findings)
    write_tables(tables, tmp_path)
    write_figures(figures, tmp_path)
    write_proof(tables, figures, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"t.{suffix}" for suffix in FORMATS),
        "bars.svg",
        "bars.pdf",
        "all.tex",
    }
    proof = (tmp_path / f"{PROOF}.tex").read_text()
    for line in (r"\input{t.tex}", r"\includegraphics{../figures/bars.pdf}", r"\caption{Speed-up \& more.}", r"\label{fig:bars}"):
        assert line in proof
    assert (tmp_path / "bars.pdf").read_bytes().startswith(b"%PDF-")


def test_every_format_of_a_table_says_the_same_numbers(asked: Callable[..., Findings]) -> None:
    spec = {"name": "t", "rows": ["model", "method"], "columns": ["metric", "backend"], "metrics": ["latency", "quality_change"]}
    (table,) = paper_tables(asked(tables=[spec]))
    expected = [entry.printed.value for row in table.rows for entry in row.entries if entry.value is not None]
    assert len(expected) == 28
    lines = csv.DictReader(io.StringIO(FORMATS["csv"](table)))
    assert [line["printed"].split(" ")[0] for line in lines if line["printed"]] == expected
    body = FORMATS["html"](table).partition("<tbody>")[2]
    cells = re.findall(r"<td[^>]*>(?:<b>)?([+−]?[\d.]+)", body)
    assert cells == expected
    tex = re.sub(r"\\hphantom\{[^}]*\}+|\\rlap\{[^}]*\}\}", "", FORMATS["tex"](table).partition(r"\midrule")[2])
    numbers = re.findall(r"& (?:\\textbf\{)?([+]?(?:\$-\$)?\d[\d.]*)", tex)
    assert [number.replace("$-$", "−") for number in numbers] == expected


def test_without_anything_to_set_there_is_no_document(asked: Callable[..., Findings], tmp_path: Path) -> None:
    findings = asked(tables=[], figures=[{"name": "none", "kind": "sweep"}])
    (figure,) = paper_figures(findings)
    assert figure.svg is None and "no sweep" in figure.sentence
    write_figures([figure], tmp_path)
    write_proof([], [figure], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_font_that_is_not_here_is_said_and_never_replaced(asked: Callable[..., Findings]) -> None:
    (figure,) = paper_figures(asked(figures=[{**BARS, "font": "No Such Font"}]))
    assert (figure.svg, figure.pdf) == (None, None)
    assert "No Such Font is not installed where this report was made" in figure.sentence


def test_a_figures_files_are_the_same_bytes_again(asked: Callable[..., Findings]) -> None:
    first, again = (paper_figures(asked(figures=[BARS]))[0] for _ in range(2))
    assert first == again and first.pdf is not None
