"""Write the report of one run: pages, tables and figures, in a folder that may already hold an older report."""

from __future__ import annotations

import dataclasses
import gc
import json
import multiprocessing
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reports import figures, html
from reports.cell import cell_page, has_downloads
from reports.charts import vega
from reports.contests import contests, is_part
from reports.findings import Findings, examine
from reports.folder import ReportError, write_folder
from reports.history import histories
from reports.paper import paper_figures, paper_tables, write_figures, write_proof, write_tables
from reports.sheets import cut_into_sheets, pages_of
from reports.table import by_method
from results.paper import FigureSpec
from results.query import Past
from results.record import Record, Run, plain

CELLS_A_PROCESS = 400
"""Cells whose pages keep another process busy for longer than it takes to start."""
PAGE: Mapping[str, Any] = {"width": 6.0, "font_size": 9.0}
"""Inches and points of a drawing on the page."""
MAX_DRAWN = 6
"""Models, targets and operating points that get figures of their own: nobody reads a page of hundreds. The page says so."""


def write_report(run: Run, records: Sequence[Record], out: Path, past: Iterable[Past] = ()) -> Path:
    """Render all, then put it in place; returns `out/index.html`. What is in `out` and not ours is left alone.

    `past`: what the store knows of the latency of these cells, this run included.
    """
    check_ids(records)
    findings = dataclasses.replace(examine(run, records), histories=histories(past))
    return write_folder(out, lambda folder: render(findings, folder))


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
    """Write index.html, cells/, tables/ and figures/ into an empty folder; models/ and devices/ where one page cannot hold all."""
    for name in ("cells", "tables", "figures"):
        (folder / name).mkdir()
    with cell_pages(findings, folder / "cells"):
        tables = [by_method(findings, model) for model in findings.matrix.labels["model"]]
        papers = paper_tables(findings, taken=(table.name for table in tables))
        drawings = list(draw(findings))
        plates = paper_figures(findings, taken=(drawing.name for drawing in drawings))
        drawings = [*plates, *drawings]
        write_tables((*tables, *papers), folder / "tables")
        write_figures(drawings, folder / "figures")
        write_proof(papers, plates, folder / "tables")
        found = contests(findings)
        sheets = cut_into_sheets(findings, tables)
        pages = pages_of(sheets)
        for page in pages:
            (folder / page.file).parent.mkdir(exist_ok=True)
            (folder / page.file).write_text(html.sheets_page(findings, page, found), encoding="utf-8")
        (folder / "assets" / "vega.js").write_text(vega(), encoding="utf-8")
        (folder / "index.html").write_text(html.index_page(findings, found, sheets, pages, papers, drawings), encoding="utf-8")


@contextmanager
def cell_pages(findings: Findings, folder: Path) -> Iterator[None]:
    """Write the page of every cell while the body runs: many of them by processes of their own, which share the findings by forking."""
    records = list(findings.matrix.records.values())
    workers = min(os.cpu_count() or 1, len(records) // CELLS_A_PROCESS)
    if workers < 1:
        write_cells(findings, records, folder)
        yield
        return
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, fork, initializer=_adopt, initargs=(findings, folder)) as pool:
        try:  # a process may be killed while the next part is handed out
            parts = [pool.submit(_write_part, part, 4 * workers) for part in range(4 * workers)]
            yield
            for part in parts:
                part.result()
        except BrokenProcessPool as error:
            raise ReportError(
                f"a process that writes pages into {folder} was killed, perhaps for want of memory. Render again."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def write_cells(findings: Findings, records: Iterable[Record], folder: Path) -> None:
    """The page of each record, and the record itself where there is room for all of them."""
    for record in records:
        (folder / f"{record.id}.html").write_text(cell_page(findings, record), encoding="utf-8")
        if has_downloads(findings):
            (folder / f"{record.id}.json").write_text(json.dumps(record.to_json(), default=plain), encoding="utf-8")


_adopted: list[tuple[Findings, Path]] = []
"""In a worker process: what it was forked with."""


def _adopt(findings: Findings, folder: Path) -> None:
    _adopted.append((findings, folder))
    gc.freeze()  # what was inherited stays shared: the collector would touch, and so copy, all of it


def _write_part(part: int, parts: int) -> None:
    findings, folder = _adopted[0]
    write_cells(findings, list(findings.matrix.records.values())[part::parts], folder)


def draw(findings: Findings) -> Iterator[figures.Figure]:
    """Claimed against measured for the whole run; for each model, target and operating point the trade-offs and the bars."""
    matrix = findings.matrix
    whole = [place for place, record in matrix.records.items() if not is_part(findings, record)]
    spots = list(dict.fromkeys(place._replace(method="", backend="") for place in whole))
    varying = matrix.varying(besides=("method", "backend"))
    models = tuple(dict.fromkeys(place.model for place in whole))
    claims = FigureSpec("claimed-and-measured", "claimed_and_measured", only={"model": models}, panels=(), **PAGE)
    yield figures.draw(claims, findings, "Claimed and measured", is_exact=False)
    if len(spots) > MAX_DRAWN:
        sentence = f"Drawn by themselves are up to {MAX_DRAWN} models, targets and operating points; this run has {len(spots)}. The tables have them all."
        yield figures.Figure("more", "Not drawn", None, sentence)
        return
    for number, context in enumerate(spots, start=1):
        only = {axis: (context.label(axis),) for axis in varying}
        suffix = ": " + ", ".join(f"{axis} {label}" for axis, (label,) in only.items()) if only else ""
        trade_off = FigureSpec(f"trade-off-{number}", "trade_off", only=only, **PAGE)
        yield figures.draw(trade_off, findings, f"Accuracy and latency{suffix}", is_exact=False)
        of_spot = [record for place, record in matrix.records.items() if place._replace(method="", backend="") == context]
        if any(findings.quantity(record, "energy").value is not None for record in of_spot if record.status == "ok"):
            energy = dataclasses.replace(trade_off, name=f"energy-{number}", x="energy")
            yield figures.draw(energy, findings, f"Accuracy and energy{suffix}", is_exact=False)
        bars = FigureSpec(f"speed-up-{number}", "speedup_bars", only=only, **PAGE)
        yield figures.draw(bars, findings, f"Speed-up{suffix}", is_exact=False)
