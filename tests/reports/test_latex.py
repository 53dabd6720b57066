from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from reports.findings import examine
from reports.latex import escape, latex, packages
from reports.paper import PROOF, paper_figures, paper_tables, write_figures, write_proof, write_tables
from reports.table import Table, by_method, paper_table
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
SPEC = {
    "name": "main_1", "caption": "100 % of int8_ptq & friends.", "rows": ["model", "method"], "columns": ["backend"],
    "metrics": ["latency", "speedup", "quality", "artifact_size"],
}  # fmt: skip
STYLES: Mapping[str, Mapping[str, Any]] = {
    "half": {"interval": "half", "bold": "always"},
    "siunitx": {"siunitx": True, "metrics": ["latency", "quality_change"], "sort": "latency"},
    "siunitx_half": {"siunitx": True, "interval": "half", "metrics": ["latency", "speedup"]},
    "split": {"wide": "split", "interval": "none", "precision": {"latency": 2}},
    "sideways": {"environment": "sidewaystable", "label": "tab:side"},
    "long": {"environment": "longtable", "wide": "keep", "metrics": ["latency", "speedup"]},
    "metric_first": {"columns": ["metric", "backend"], "rows": ["model", "method"], "environment": "table*"},
}
HOSTILE = [
    r"\input{/etc/passwd}", "100% & more #1 $x$ _a_ ^b^ ~c~ {d}", "[2pt]", "*", "a -- b --- c", "<<x>> ?` !`", "``q'' ,,p,,",
    "é ü ñ Å ß č ő ş", "中文 ☃ 🎉", "µs × ± ≤ ≥ → − … “q”", "\u202eright\u202c to left", "tab\tand\nline", "\\", '"quoted"', "x" * 120,
]  # fmt: skip


def test_latex_is_golden(smoke_records: list[Record], make_run: MakeRun, golden: Callable[[str, str], None]) -> None:
    golden("main.tex", latex(paper_table(SPEC, examine(make_run(smoke_records), smoke_records))))


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_golden(
    style: str, smoke_records: list[Record], make_run: MakeRun, golden: Callable[[str, str], None]
) -> None:
    table = paper_table({**SPEC, "name": style, **STYLES[style]}, examine(make_run(smoke_records), smoke_records))
    golden(f"{style}.tex", latex(table))


def test_equal_records_give_equal_bytes_whatever_their_order(smoke_records: list[Record], make_run: MakeRun) -> None:
    run = make_run(smoke_records)
    tables = [paper_table(SPEC, examine(run, records)) for records in (smoke_records, smoke_records[::-1])]
    assert latex(tables[0]) == latex(tables[1])
    assert f"sha256 {tables[0].sha256}" in latex(tables[0]).splitlines()[0]


@pytest.mark.parametrize("style", ["plain", *STYLES])
def test_every_row_has_as_many_cells_as_the_tabular_has_columns(
    style: str, smoke_records: list[Record], make_run: MakeRun
) -> None:
    text = latex(paper_table({**SPEC, **STYLES.get(style, {})}, examine(make_run(smoke_records), smoke_records)))
    text = re.sub(r"\\begin\{tabular\}\[b\].*?\\end\{tabular\}", "", text)
    parts = re.findall(
        r"\\begin\{(?:tabular|longtable)\}\{@\{\}([^\n]+?)(?:@\{\})?\}\n(.*?)\\end\{(?:tabular|longtable)", text, re.DOTALL
    )
    assert len(parts) == (2 if style == "split" else 1)
    for kinds, body in parts:
        width = len(re.sub(r"\[[^]]*\]", "", kinds))
        rows = [line for line in body.splitlines() if r" \\" in line and " & " in line]
        assert len(rows) >= 8
        for row in rows:
            spans = [int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", row)]
            assert len(re.findall(r"(?<!\\)&", row)) + 1 + sum(spans) == width, row


def test_numbers_of_a_column_are_equally_wide(smoke_records: list[Record], make_run: MakeRun) -> None:
    """What a column's phantoms fill up: every number has as many digits before and after its point."""
    for style in ("plain", "half"):
        text = latex(
            paper_table(
                {**SPEC, **STYLES.get(style, {}), "metrics": ["latency"]}, examine(make_run(smoke_records), smoke_records)
            )
        )
        shown = re.sub(r"\\textbf\{([^{}]*(?:\$[^$]*\$[^{}]*)?)\}|\\rlap\{\\textsuperscript\{[^}]*\}\}", r"\1", text)
        shown = re.sub(r"\\hphantom\{([^{}]*)\}", lambda match: re.sub("[0-9]", "0", match[1]), shown)
        rows = [
            line.split(" & ")
            for line in shown.splitlines()
            if re.search(r"^(cnn|resnet.*|) & \w", line) and "scriptsize" not in line
        ]
        columns = [[row[n].split(r" \\")[0] for row in rows if len(row) == 4 and "multicolumn" not in row[n]] for n in (2, 3)]
        assert all(len(column) >= 6 for column in columns)
        assert [len({*map(str, (sorted(re.sub("[0-9]", "0", number)) for number in column))}) for column in columns] == [1, 1], (
            columns
        )


def test_packages_are_those_that_the_text_uses(smoke_records: list[Record], make_run: MakeRun) -> None:
    findings = examine(make_run(smoke_records), smoke_records)
    uses = {
        "siunitx": r"\sisetup",
        "graphicx": r"\resizebox",
        "longtable": r"\begin{longtable}",
        "rotating": r"\begin{sidewaystable}",
    }
    for style in STYLES.values():
        table = paper_table({**SPEC, **style}, findings)
        text = latex(table)
        assert {*packages(table)} == {"booktabs"} | {name for name, command in uses.items() if command in text}
        assert rf"% Needs \usepackage{{{','.join(packages(table))}}}" == text.splitlines()[1]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        ("\\", r"\textbackslash{}"),
        ("a--b", "a-{}-b"),
        ("''", "'{}'"),
        ("é", r"\'{e}"),
        ("e\u0301", r"\'{e}"),
        ("中", r"\texttt{U+4E2D}"),
        ("\x07", r"\texttt{U+0007}"),
        ("3×", r"3$\times$"),
        ("[x]*", "{[}x{]}{*}"),
        ("one\n two", "one two"),
    ],
)
def test_every_special_character_prints_itself(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_escaped_text_is_plain_ascii_with_balanced_braces() -> None:
    for text in [*HOSTILE, "".join(map(chr, range(32, 0x500))), "".join(map(chr, range(0x2000, 0x2300)))]:
        escaped = escape(text)
        assert escaped.isascii()
        bare = re.sub(r"\\[\\{}]", "", escaped)
        assert bare.count("{") == bare.count("}")
        assert not re.search(r"(?<!\\)[%#&_]", escaped)


def test_a_label_is_a_safe_key_for_cross_references(make_record: MakeRecord, make_run: MakeRun) -> None:
    table = paper_table({**SPEC, "name": "a}b%c"}, examine(make_run([]), []))
    assert r"\label{tab:a-b-c}" in latex(table)


def _compiled(tables: list[Table], folder: Path, run: Run | None = None, records: list[Record] | None = None) -> str:
    """Log of a real pdflatex over the document of a report's tables and figures; fails the test when it does."""
    compiler = shutil.which("pdflatex")
    if compiler is None:
        pytest.skip("pdflatex not found")
    figures = [] if run is None else paper_figures(examine(run, records or []))
    for name in ("tables", "figures"):
        (folder / name).mkdir()
    write_tables(tables, folder / "tables")
    write_figures(figures, folder / "figures")
    write_proof(tables, figures, folder / "tables")
    log = ""
    for _ in range(2):  # a longtable learns its widths in the first pass
        ran = subprocess.run(
            [compiler, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", f"{PROOF}.tex"],
            cwd=folder / "tables",
            capture_output=True,
            timeout=300,
            check=False,
        )
        log = ran.stdout.decode(errors="replace")
        assert ran.returncode == 0, log[-3000:]
    return log


def _printed(folder: Path) -> str:
    reader = shutil.which("pdftotext")
    if reader is None:
        pytest.skip("pdftotext not found")
    command = [reader, "-layout", f"{PROOF}.pdf", "-"]
    text = subprocess.run(command, cwd=folder / "tables", capture_output=True, timeout=60, check=True).stdout.decode()
    return " ".join(text.split())


@pytest.mark.peers
def test_pdflatex_sets_every_style_and_figure_within_its_page(
    smoke_records: list[Record], make_run: MakeRun, tmp_path: Path
) -> None:
    specs = [SPEC, *({**SPEC, "name": name, **style} for name, style in STYLES.items())]
    figures = [{"name": f"f_{kind}", "kind": kind, "caption": f"100 % {kind}"} for kind in ("trade_off", "speedup_bars")]
    run = make_run(smoke_records, tables=specs, figures=figures)
    findings = examine(run, smoke_records)
    log = _compiled([*paper_tables(findings), by_method(findings, "cnn")], tmp_path, run, smoke_records)
    assert "Overfull" not in log and "undefined" not in log
    text = _printed(tmp_path)
    for expected in (
        "0.5000 ± 0.0043",
        "[0.4957, 0.5044]",
        "100 % trade",
        "unsupported",
        "not distinguishable from the baseline",
    ):
        assert expected in text, expected
    assert "−20.0" in text


@pytest.mark.peers
def test_pdflatex_prints_hostile_names_and_does_nothing_else(make_record: MakeRecord, make_run: MakeRun, tmp_path: Path) -> None:
    records = [make_record(name, status="failed", reason=name) for name in HOSTILE] + [make_record()]
    run = make_run(records, methods=[*HOSTILE, "float32"])
    caption = " ".join(HOSTILE[:-1])
    tables = [
        paper_table({**SPEC, "name": style, "caption": caption, **given}, examine(run, records))
        for style, given in {"plain": {}, "long": STYLES["long"], "si": STYLES["siunitx"]}.items()
    ]
    log = _compiled(tables, tmp_path)
    assert "passwd" not in log
    assert "Missing character" not in log
    text = _printed(tmp_path)
    assert r"\input{/etc/passwd} 100% & more #1 $x$" in text
    assert "U+4E2D" in text
