from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.findings import examine
from reports.latex import escape, latex, standalone
from reports.table import Table, by_method, paper_table
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
SPEC = {
    "name": "main_1", "caption": "100 % of int8_ptq & friends.", "rows": ["model", "method"], "columns": "backend",
    "metrics": ["latency", "speedup", "top1", "artifact_size"],
}  # fmt: skip
HOSTILE = [
    r"\input{/etc/passwd}", "100% & more #1 $x$ _a_ ^b^ ~c~ {d}", "[2pt]", "*", "a -- b --- c", "<<x>> ?` !`", "``q'' ,,p,,",
    "é ü ñ Å ß č ő ş", "中文 ☃ 🎉", "µs × ± ≤ ≥ → − … “q”", "\u202eright\u202c to left", "tab\tand\nline", "\\", '"quoted"', "x" * 120,
]  # fmt: skip


def test_latex_is_golden(smoke_records: list[Record], make_run: MakeRun, golden: Callable[[str, str], None]) -> None:
    golden("main.tex", latex(paper_table(SPEC, examine(make_run(smoke_records), smoke_records))))


def test_equal_records_give_equal_bytes_whatever_their_order(smoke_records: list[Record], make_run: MakeRun) -> None:
    run = make_run(smoke_records)
    tables = [paper_table(SPEC, examine(run, records)) for records in (smoke_records, smoke_records[::-1])]
    assert latex(tables[0]) == latex(tables[1])
    assert f"sha256 {tables[0].sha256}" in latex(tables[0]).splitlines()[0]


def test_every_row_has_as_many_cells_as_the_tabular_has_columns(smoke_records: list[Record], make_run: MakeRun) -> None:
    text = latex(paper_table(SPEC, examine(make_run(smoke_records), smoke_records)))
    columns = re.search(r"\\begin\{tabular\}\{@\{\}(\w+)@\{\}\}", text)
    assert columns is not None and columns[1] == "ll" + "r" * 8
    rows = [line for line in text.splitlines() if r" \\" in line and " & " in line]
    assert len(rows) > 16
    for row in rows:
        spans = [int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", row)]
        assert len(re.findall(r"(?<!\\)&", row)) + 1 + sum(spans) == 10, row


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


def _compiled(table: Table, folder: Path) -> str:
    """Log of a real pdflatex over the whole document; fails the test when it does."""
    compiler = shutil.which("pdflatex")
    if compiler is None:
        pytest.skip("pdflatex not found")
    (folder / "table.tex").write_text(standalone(table), encoding="utf-8")
    ran = subprocess.run(
        [compiler, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "table.tex"],
        cwd=folder,
        capture_output=True,
        timeout=120,
        check=False,
    )
    log = ran.stdout.decode(errors="replace")
    assert ran.returncode == 0, log[-3000:]
    assert (folder / "table.pdf").stat().st_size > 1000
    return log


@pytest.mark.peers
def test_pdflatex_compiles_a_smoke_table_that_fits_its_page(
    smoke_records: list[Record], make_run: MakeRun, tmp_path: Path
) -> None:
    findings = examine(make_run(smoke_records), smoke_records)
    for name, table in (("paper", paper_table(SPEC, findings)), ("model", by_method(findings, "cnn"))):
        (tmp_path / name).mkdir()
        assert "Overfull" not in _compiled(table, tmp_path / name)


@pytest.mark.peers
def test_pdflatex_prints_hostile_names_and_does_nothing_else(make_record: MakeRecord, make_run: MakeRun, tmp_path: Path) -> None:
    records = [make_record(name, status="failed", reason=name) for name in HOSTILE] + [make_record()]
    run = make_run(records, methods=[*HOSTILE, "float32"])
    log = _compiled(paper_table({**SPEC, "caption": " ".join(HOSTILE[:-1])}, examine(run, records)), tmp_path)
    assert "passwd" not in log
    assert "Missing character" not in log
    reader = shutil.which("pdftotext")
    if reader is not None:
        text = subprocess.run(
            [reader, "table.pdf", "-"], cwd=tmp_path, capture_output=True, timeout=60, check=True
        ).stdout.decode()
        assert r"\input{/etc/passwd} 100% & more #1 $x$" in " ".join(text.split())
