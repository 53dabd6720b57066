"""The page of a run, and of one model or device of a large one: HTML that asks for nothing but the files beside it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from reports import figures
from reports.charts import chart_data
from reports.contests import Contest, is_part
from reports.findings import Findings, least_effect
from reports.heat import heat, winners
from reports.history_plot import changed_cells
from reports.layers import layers_of_run
from reports.markup import table_markup
from reports.metrics import METRICS, title_of
from reports.page import MEANINGS, templates
from reports.sentences import answers, claims_sentences, summary, trust
from reports.sheets import Page, Sheet
from reports.sweeps import METRICS as SWEPT
from reports.table import Table, shortened
from reports.tree import json_tree
from results.record import STATUSES, Record

SETTINGS: Mapping[str, str] = {
    "launches": "process launches of each cell",
    "warmup_samples": "least samples for warm-up",
    "warmup_s": "least seconds of warm-up",
    "min_samples": "least samples of a launch",
    "min_s": "least seconds of a launch",
    "min_sample_s": "least seconds of a sample",
    "max_launch_s": "most seconds of a launch",
    "retries": "new attempts after a device's fault",
    "check_inputs": "answers checked before timing",
    "profile": "operators timed by the runtime's own profiler",
    "evaluation_size": "test examples for accuracy",
    "energy_s": "least seconds of a window of energy",
    "energy_windows": "windows of energy",
    "idle_s": "seconds idle before and after them",
    "sustained_s": "seconds of looping without a rest",
}
"""How a suite's sampling settings are called on the page."""
MAX_SENTENCES, MAX_ANSWERS = 6, 24
"""Sentences that are read, and that are looked up: more are folded, or left to the matrix of winners and the models' own pages."""
MAX_PAPER_ROWS = 250
"""A longer table of a paper is a file to download."""
LINKS_SHOWN = 12
"""Cells that one line of \"what was not ok\" links to by name; the line says how many more there are."""


class Trouble(NamedTuple):
    """Cells that share a status and a reason."""

    status: str
    reason: str
    cells: int
    shown: tuple[Record, ...]

    @property
    def more(self) -> int:
        return self.cells - len(self.shown)


class Drawing(NamedTuple):
    title: str
    sentence: str
    file: str | None
    pdf: str | None
    width: float
    height: float
    """Pixels, so that nothing moves when the file has come."""


def index_page(
    findings: Findings,
    found: Sequence[Contest],
    sheets: Sequence[Sheet],
    pages: Sequence[Page],
    papers: Sequence[Table],
    drawings: Sequence[figures.Figure],
) -> str:
    """The page of a run. `pages`: what holds the sheets where the index does not; `papers`: the tables that the suite asks for."""
    matrix = findings.matrix
    counts = Counter(record.status for record in matrix.records.values())
    document = findings.run.document
    return (
        templates()
        .get_template("index.html.j2")
        .render(
            run=findings.run,
            about=document.get("about", ""),
            summary=[*summary(findings, found), *claims_sentences(findings)],
            trust=trust(findings),
            answers=answers(findings, found) if len(found) <= MAX_ANSWERS else (),
            is_long=len(found) > MAX_SENTENCES,
            winners=winners(findings, found) if len(found) > 1 else None,
            counts=[(status, counts[status], MEANINGS[status]) for status in STATUSES if counts[status]],
            total=len(matrix.records),
            troubles=_troubles(findings),
            heat=None if pages else heat(findings, lambda place: not is_part(findings, matrix.records[place])),
            drawings=[_drawing(figure) for figure in drawings],
            chart_data=chart_data(findings),
            history=changed_cells(findings),
            layers=layers_of_run(findings),
            sheets=() if pages else sheets,
            pages=pages,
            page_of={page.label: page.file for page in pages if page.axis == "model"},
            table_markup=table_markup,
            sweep_titles=[title_of(metric) for metric in SWEPT],
            papers=papers,
            max_paper_rows=MAX_PAPER_ROWS,
            legend=[(metric.title, metric.meaning) for metric in METRICS.values() if metric.meaning],
            baseline=[(axis, str(label)) for axis, label in dict(document.get("baseline") or {}).items()],
            sampling=_plain(document.get("sampling", {})),
            data=json_tree(document.get("data", {})),
            environment=json_tree(findings.run.environment),
            machines=_machines(findings),
            minimum_effect=f"{100 * least_effect(*matrix.records.values()):.2g} %",
            reused=sum(record.run_id != findings.run.id for record in matrix.records.values()),
        )
    )


def sheets_page(findings: Findings, page: Page, found: Sequence[Contest]) -> str:
    """The page of one model or one device of a run that is too large for one page."""
    models = {sheet.model for sheet in page.sheets if not sheet.is_layer}
    shown = {(sheet.model, sheet.target) for sheet in page.sheets if not sheet.is_layer}
    found = [contest for contest in found if (contest.place.model, contest.place.target) in shown]
    return (
        templates()
        .get_template("sheets.html.j2")
        .render(
            run=findings.run,
            page=page,
            answers=answers(findings, found) if len(found) <= MAX_ANSWERS else (),
            winners=winners(findings, found) if len(models) > 1 else None,
            heat=heat(findings, lambda place: (place.model, place.target) in shown) if len(models) == 1 else None,
            sheets=page.sheets,
            table_markup=table_markup,
            sweep_titles=[title_of(metric) for metric in SWEPT],
        )
    )


def _troubles(findings: Findings) -> list[Trouble]:
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in findings.matrix.records.values():
        if record.status != "ok":
            reason = shortened(record.reason or record.error_class or "no reason was recorded")
            groups.setdefault((record.status, reason), []).append(record)
    ordered = sorted(groups.items(), key=lambda item: STATUSES.index(item[1][0].status), reverse=True)
    return [Trouble(*key, len(found), tuple(found[:LINKS_SHOWN])) for key, found in ordered]


def _drawing(figure: figures.Figure) -> Drawing:
    file = None if figure.svg is None else f"figures/{figure.name}.svg"
    size = re.search(r'width="([0-9.]+)" height="([0-9.]+)"', figure.svg or "")
    pdf = None if figure.pdf is None else f"figures/{figure.name}.pdf"
    return Drawing(figure.title, figure.sentence, file, pdf, *(map(float, size.groups()) if size else (0.0, 0.0)))


def _machines(findings: Findings) -> list[tuple[str, tuple[str, ...], Markup]]:
    """(machine key, targets, facts) of every machine that left a record."""
    found: dict[str, tuple[dict[str, None], Any]] = {}
    for place, record in findings.matrix.records.items():
        if record.machine_key:
            targets, _ = found.setdefault(record.machine_key, ({}, record.provenance.get("device", {})))
            targets[place.target] = None
    return [(key, tuple(targets), json_tree(device)) for key, (targets, device) in found.items()]


def _plain(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (SETTINGS.get(name, name.replace("_", " ")), "all" if value is None else str(value)) for name, value in settings.items()
    ]
