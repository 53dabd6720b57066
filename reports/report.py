"""Write the report of one run: pages, tables and figures, in a folder that may already hold an older report."""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from reports import figures, html
from reports.findings import Findings, examine
from reports.latex import latex
from reports.matrix import Place
from reports.table import Table, by_method, paper_table
from reports.text import csv_text, markdown
from results.record import Record, Run

MANIFEST = ".assay-report"
"""Lists the files of the report in a folder, so that a later one knows which of them are its own to remove."""
MAX_DRAWN = 12
"""Models, targets and operating points that get figures of their own: nobody reads a page of hundreds. The page says so."""
_OURS = re.compile(r"(cells/[0-9a-f-]+\.html|tables/[A-Za-z0-9_-]+\.(tex|csv|md)|figures/[A-Za-z0-9_-]+\.svg)")


class ReportError(Exception):
    """The report cannot be made. The message says what happened, where, and what to do."""


def write_report(run: Run, records: Sequence[Record], out: Path) -> Path:
    """Render all, then put it in place; returns `out/index.html`. What is in `out` and not ours is left alone."""
    check_ids(records)
    findings = examine(run, records)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.rendering-") as folder:
            render(findings, Path(folder))
            publish(Path(folder), out)
    except OSError as error:
        raise ReportError(
            f"cannot write the report to {out}: {error.strerror or error}. Free it up or choose another folder."
        ) from error
    return out / "index.html"


def check_ids(records: Iterable[Record]) -> None:
    """Record ids become file names and links, so they may be nothing but hexadecimal digits and dashes, each once."""
    seen: set[str] = set()
    for record in records:
        if not re.fullmatch(r"[0-9a-f-]{1,64}", record.id):
            raise ReportError(
                f"record id {record.id!r} is not made of the digits 0-9a-f and dashes; the store it came from is damaged"
            )
        if record.id in seen:
            raise ReportError(f"record id {record.id} appears twice; pass each record once")
        seen.add(record.id)


def render(findings: Findings, folder: Path) -> None:
    """Write index.html, cells/, tables/ and figures/ into an empty folder."""
    for name in ("cells", "tables", "figures"):
        (folder / name).mkdir()
    tables = [by_method(findings, model) for model in findings.matrix.labels["model"]]
    papers = list(_papers(findings, {table.name for table in tables}))
    drawings = list(draw(findings))
    for table in (*tables, *papers):
        for suffix, text in (("tex", latex(table)), ("csv", csv_text(table)), ("md", markdown(table))):
            (folder / "tables" / f"{table.name}.{suffix}").write_text(text, encoding="utf-8")
    for drawing in drawings:
        if drawing.svg is not None:
            (folder / "figures" / f"{drawing.name}.svg").write_text(drawing.svg, encoding="utf-8")
    for record in findings.matrix.records.values():
        (folder / "cells" / f"{record.id}.html").write_text(html.cell_page(findings, record), encoding="utf-8")
    (folder / "index.html").write_text(html.index_page(findings, tables, papers, drawings), encoding="utf-8")


def draw(findings: Findings) -> Iterator[figures.Figure]:
    """Claimed against measured for the whole run; the trade-off and the bars for each model, target and operating point."""
    matrix = findings.matrix
    contexts: dict[Place, list[Place]] = {}
    for place in matrix.records:
        contexts.setdefault(place._replace(method="", backend=""), []).append(place)
    everything = figures.points(findings, matrix.records)
    yield figures.claimed_and_measured("claimed-and-measured", "Claimed and measured", everything)
    for number, (context, places) in enumerate(itertools.islice(contexts.items(), MAX_DRAWN), start=1):
        points = figures.points(findings, places)
        varying = matrix.varying(besides=("method", "backend"))
        named = ", ".join(f"{axis} {label}" for axis, label in zip(context._fields, context, strict=True) if axis in varying)
        suffix = f": {named}" if named else ""
        yield figures.pareto(f"trade-off-{number}", f"Accuracy and latency{suffix}", points)
        yield figures.speedup_bars(f"speed-up-{number}", f"Speed-up{suffix}", points)
    if len(contexts) > MAX_DRAWN:
        sentence = (
            f"Drawn are the first {MAX_DRAWN} of {len(contexts)} models, targets and operating points. The tables have them all."
        )
        yield figures.Figure("more", "Not drawn", None, sentence)


def publish(rendered: Path, out: Path) -> None:
    """Move a finished report into place file by file, each move atomic, the index last.

    Killed at any point, `out` holds an index whose every link leads to a whole page: the old index with cells old or new, or
    the new index with new cells. Files of an older report that the new one lacks are removed after that.
    """
    out.mkdir(exist_ok=True)
    old = _listed(out / MANIFEST)
    new = {path.relative_to(rendered).as_posix() for path in rendered.glob("*/*")}
    _write_manifest(rendered, out, old | new)
    for name in ("cells", "tables", "figures"):
        (out / name).mkdir(exist_ok=True)
    for name in sorted(new):
        (rendered / name).replace(out / name)
    (rendered / "index.html").replace(out / "index.html")
    for name in sorted(old - new):
        (out / name).unlink(missing_ok=True)
    _write_manifest(rendered, out, new)


def _listed(manifest: Path) -> set[str]:
    """Names in a manifest that can only be ours: it is not trusted to point anywhere else."""
    if not manifest.exists():
        return set()
    return {line for line in manifest.read_text(encoding="utf-8").splitlines() if _OURS.fullmatch(line)}


def _write_manifest(rendered: Path, out: Path, names: set[str]) -> None:
    fresh = rendered / MANIFEST
    fresh.write_text("".join(f"{name}\n" for name in sorted(names)), encoding="utf-8")
    fresh.replace(out / MANIFEST)


def _papers(findings: Findings, taken: set[str]) -> Iterator[Table]:
    """The tables that the suite asks for. A name becomes a file name: what cannot be in one is replaced, and no two are alike."""
    taken = set(taken)
    for spec in findings.run.document.get("tables", ()):
        name = base = re.sub(r"[^A-Za-z0-9_-]+", "-", str(spec["name"]))[:64] or "table"
        count = 1
        while name in taken:
            count += 1
            name = f"{base}-{count}"
        taken.add(name)
        yield paper_table({**spec, "name": name}, findings)
