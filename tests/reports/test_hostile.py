"""What a suite or a device may fill in does nothing but print: in every field, on every page, in every file of a report."""

from __future__ import annotations

import csv
import dataclasses
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.compare import compare
from reports.diff_page import write_diff
from reports.report import write_report
from results.record import Axes, Measurement, Record, Run, Samples, Status

OpenPage = Callable[..., Any]
RUNS = "window.ran=1"
PAYLOADS: Mapping[str, str] = {
    "script": f"<script>{RUNS}</script>",
    "breaks out": f"</script></style></title></svg></template>--><script>{RUNS}</script>",
    "attribute": f"\"'><img src=x onerror={RUNS}><svg onload={RUNS}>",
    "link": f"javascript:{RUNS}",
    "request": "<link rel=stylesheet href=https://example.com/x><img src='//example.com/y'>@import url(//example.com/z)",
    "templates": "{{7*7}}{% raw %}${7*7}#{7*7}<%= 7 %>",
    "vega": f"signal:{RUNS} \" + {RUNS} + \" datum['x'] \\u003cscript\\u003e",
    "controls": "\x00\x07\x1b[2J\x1b]0;t\x07\x08\x7f\x9b\r\n\t",
    "invisible": "abc\u202egnp.exe\u200b\u200d\ufeff\u2066\u2028\u00ad",
    "surrogate": "\udc80\udcff",
    "latex": r"\input{/etc/passwd}\write18{id}\end{table}%$&#_^~{}\\[1pt]",
    "path": "../../../../tmp/x/..\\..\\C:\\con",
    "formula": "=cmd|'/C calc'!A0",
    "formula after a line": "\n=1+1",
    "full-width formula": "\uff1d1+1",
    "markdown": "[x](javascript:0) | `a` | <b> ![](//example.com/q) **b** __c__ \n# head",
    "long": "x" * 3000 + "é" * 300,
    "empty": "",
    "blank": " ",
}
ALL = "".join(text for name, text in PAYLOADS.items() if name not in ("long", "formula"))
ALONE = ("formula", "formula after a line", "full-width formula", "surrogate", "path", "long", "empty", "blank")
"""Payloads that may do alone what they do not in the midst of the others."""
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _records(bad: str, prefix: str = "a") -> list[Record]:
    """A baseline, a cell, a layer and every bad ending, with `bad` wherever a suite, a plug-in or a device has a say."""
    rng = np.random.default_rng(0)
    fates: Sequence[tuple[str, str | None, Status]] = (
        ("float32", None, "ok"),
        (f"m{bad}", None, "ok"),
        (f"m{bad}", f"l{bad}", "ok"),
        (f"w{bad}", None, "wrong"),
        (f"f{bad}", None, "failed"),
        (f"u{bad}", None, "unreachable"),
    )
    records = []
    for number, (method, layer, status) in enumerate(fates):
        launch = np.repeat(np.arange(3, dtype=np.uint16), 6)
        samples = dataclasses.replace(Samples.of(rng.normal(1e-3, 1e-5, 18) / (number + 1)), launch=launch)
        measurements = (
            Measurement("latency", "s", "measured", f"how{bad}", samples, clock=f"clock{bad}", flags=(f"flag{bad}",)),
            Measurement("top1", "1", "measured", f"how{bad}", Samples.of(rng.random(50) < 0.8)),
            Measurement("energy", "J", "measured", f"how{bad}", None, reason=f"none{bad}"),
            Measurement(f"metric{bad}", f"unit{bad}", "measured", "m", Samples.of([1.0, 2.0]), derived_from=(f"of{bad}",)),
        )
        records.append(
            Record(
                f"{prefix}{number:07x}",
                f"run{bad}",
                f"{number:064x}",
                f"hash{bad}",
                f"machine{bad}",
                Axes(f"net{bad}", method, f"rt{bad}", f"dev{bad}", layer=layer),
                status,
                None if status == "ok" else f"why{bad}",
                None if status == "ok" else f"Error{bad}",
                f"then{bad}",
                f"later{bad}",
                claims={"nonzero_macs": 10 * number + 10, "macs": 100, f"claim{bad}": f"of{bad}"},
                measurements=measurements if status == "ok" else (),
                provenance=_provenance(bad),
            )
        )
    return records


def _provenance(bad: str) -> dict[str, Any]:
    return {
        "who": {"command": ["assay", "run", f"suite{bad}", bad], "git": {"commit": bad, "dirty": bad}, "packages": {bad: bad}},
        "model": {"steps": [{"kind": bad, "title": bad, "key": bad, "duration_s": bad, "inputs": {bad: bad}}]},
        "check": {"rule": bad, "passed": bad, "reason": bad, bad: bad},
        "runtime": {"launches": [{bad: bad, "warmup": bad, "load_s": bad}], "answer": {"facts": {bad: bad}}},
        "device": {"facts": {bad: [bad]}, "text": f"{bad}\n{bad}"},
        "logs": {"step": bad, "tail": f"last line{bad}"},
        f"section{bad}": {bad: {bad: [{bad: bad}]}},
    }


def _run(bad: str, records: Sequence[Record]) -> Run:
    axes = [record.axes for record in records]
    table = {"name": f"t{bad}", "caption": f"caption{bad}", "rows": ["model", "method"], "columns": "backend", "metrics": ["latency", "speedup"]}  # fmt: skip
    document = {
        "name": f"suite{bad}",
        "about": f"about{bad}",
        "models": list(dict.fromkeys(a.model for a in axes)),
        "methods": list(dict.fromkeys(a.method for a in axes)),
        "backends": [axes[0].backend],
        "targets": [axes[0].target],
        "operating_points": [{"threads": 1, "batch": 1}],
        "baseline": {"method": "float32"},
        "tables": [table],
        "sampling": {f"setting{bad}": bad},
        "data": {bad: {bad: bad}},
    }
    return Run(f"run{bad}", f"suite{bad}", document, 0, f"then{bad}", None, {bad: bad})


@pytest.fixture(scope="module", params=["all", *ALONE])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but a report and a page of changes, both of hostile records."""
    bad = ALL if request.param == "all" else PAYLOADS[request.param]
    return _write(bad, tmp_path_factory.mktemp("hostile") / "here")


def _write(bad: str, folder: Path) -> Path:
    records = _records(bad)
    later = [dataclasses.replace(r, status="failed", reason=bad, measurements=()) for r in _records(f"{bad}.", "b")[:3]]
    later[:2] = [dataclasses.replace(r, machine_key=records[0].machine_key) for r in later[:2]]
    write_report(_run(bad, records), records, folder / "report")
    diff = compare(_run(bad, records), _run(bad, later), records, later)
    write_diff(diff, records, later, folder / "changes")
    return folder


def test_nothing_hidden_is_in_any_file_and_no_file_has_another_name(written: Path) -> None:
    assert {path.name for path in written.parent.iterdir()} == {"here", "assay-cache"} & {
        p.name for p in written.parent.iterdir()
    }
    assert {path.name for path in written.iterdir()} == {"report", "changes"}
    files = [path for path in written.rglob("*") if path.is_file()]
    assert len(files) > 12
    for path in files:
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,100}", path.name), path
        if path.suffix == ".pdf" or path.parent.name == "assets":
            continue
        text = path.read_text(encoding="utf-8")
        hidden = {c for c in text if c not in "\n\t" and unicodedata.category(c) in HIDDEN}
        assert not hidden, (path.name, hidden)


class _Elements(HTMLParser):
    """Every tag that a browser would make an element of, with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


def test_no_text_became_an_element_or_a_link_of_a_page(written: Path) -> None:
    for path in written.rglob("*.html"):
        for tag, attributes in _Elements(path.read_text(encoding="utf-8")).found:
            assert tag not in ("iframe", "object", "embed", "base", "math", "template"), (path, tag)
            assert not [name for name in attributes if name.startswith("on") or name in ("action", "formaction", "srcdoc")]
            if tag == "script":
                assert attributes.get("type") == "application/json" or attributes["src"].startswith(("assets/", "../assets/"))
            for name in ("href", "src", "xlink:href"):
                link = attributes.get(name, "#").removeprefix("../")
                assert link == "data:," or re.fullmatch(r"(?!.*\.\.)[A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)*(#.*)?", link), (path, link)


def test_no_cell_of_a_csv_is_a_formula(written: Path) -> None:
    for path in (written / "report/tables").glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                for column, text in line.items():
                    if column not in ("value", "low", "high", "printed"):
                        assert not text.lstrip().startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")), (
                            column,
                            text,
                        )


@pytest.mark.peers
def test_in_a_browser_nothing_runs_asks_or_complains_and_the_text_prints(browser: OpenPage, tmp_path: Path) -> None:
    folder = _write(ALL, tmp_path / "here")
    pages = [folder / "report/index.html", folder / "changes/index.html", *sorted((folder / "report/cells").glob("*.html"))]
    for path in pages:
        page = browser(path)
        assert page.evaluate("window.ran") is None, path
        text = page.locator("body").inner_text()
        assert "<script>window.ran=1</script>" in text and r"\x1b[2J" in text and r"\u202egnp.exe" in text, path
        assert "{{7*7}}" in text, path
        if path.parent.name == "report":
            page.evaluate("for (const e of document.querySelectorAll('details')) e.open = true")
            for element in page.locator("svg, td, th button, summary").all()[:30]:
                if element.is_visible():
                    element.hover(timeout=5_000)
            assert page.evaluate("window.ran") is None, path


@pytest.mark.peers
def test_very_long_names_do_not_widen_a_phone(browser: OpenPage, tmp_path: Path) -> None:
    folder = _write(PAYLOADS["long"], tmp_path / "here")
    for path in (folder / "report/index.html", folder / "changes/index.html", next((folder / "report/cells").glob("*.html"))):
        page = browser(path, width=375, height=800)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), path
