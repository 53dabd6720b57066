"""What changed between two runs as a page, with the pages of the cells that changed beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reports.compare import Diff
from reports.diff_text import (
    cell_name,
    change_text,
    drift_sentence,
    elsewhere_lines,
    inputs_text,
    run_name,
    uncompared_lines,
    verdict,
)
from reports.findings import examine
from reports.folder import write_folder
from reports.metrics import title_of
from reports.page import templates
from reports.report import check_ids, write_cells
from reports.rounding import alone
from reports.table import shortened
from results.record import Record


def write_diff(diff: Diff, before: Sequence[Record], after: Sequence[Record], out: Path) -> Path:
    """Render all, then put it in place; returns `out/index.html`. `before`, `after`: all records of the two runs."""
    for records in (before, after):
        check_ids(records)
    changed = {record.id for pair in diff.statuses for record in pair}
    changed |= {record.id for found in diff.differences for record in (found.before, found.after)}

    def fill(folder: Path) -> None:
        (folder / "cells").mkdir()
        for run, records in ((diff.before, before), (diff.after, after)):
            write_cells(examine(run, records), [record for record in records if record.id in changed], folder / "cells")
        (folder / "index.html").write_text(diff_page(diff), encoding="utf-8")

    return write_folder(out, fill)


def diff_page(diff: Diff) -> str:
    """Links lead to `cells/`, beside it."""
    return (
        templates()
        .get_template("compare.html.j2")
        .render(
            diff=diff,
            only_before=[cell_name(record) for record in diff.only_before],
            only_after=[cell_name(record) for record in diff.only_after],
            alone=alone,
            cell_name=cell_name,
            change_text=change_text,
            drift_sentence=drift_sentence,
            elsewhere_lines=elsewhere_lines,
            inputs_text=inputs_text,
            run_name=run_name,
            shortened=shortened,
            title_of=title_of,
            twelve="{:.12g}".format,
            uncompared_lines=uncompared_lines,
            verdict=verdict,
        )
    )
