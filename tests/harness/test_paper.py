from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from harness.errors import UserError
from harness.paper import METRICS
from harness.suite import Suite
from harness.suite_file import load_suite
from reports.metrics import METRICS as PRINTED
from results.paper import LAYOUTS, FigureSpec, TableSpec
from targets.target import Target

SUITE = """\
models: [mlp, small_cnn]
methods: [float32, {magnitude_prune: {sparsity: [0.5, 0.9]}}]
backends: [onnxruntime, litert]
"""
TABLE = """\
tables:
  - name: t1
    rows: [model, method]
    columns: [target, backend]
    metrics: [latency, quality]
    only: {method: ["magnitude*", float32], backend: litert}
    precision: {latency: 2}
    sort: latency
"""
FIGURE = """\
figures:
  - name: f1
    kind: trade_off
    only: {model: mlp}
    x: artifact_size
    width: double
    height: 2.5
    panels: [backend]
    font: Nimbus Roman
"""


def _load(text: str, tmp_path: Path) -> Suite:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE + text)
    return load_suite(str(path), known_targets={"local": Target("local")})


def test_a_table_resolves_its_patterns_to_labels_in_the_suites_order(tmp_path: Path) -> None:
    (table,) = _load(TABLE, tmp_path).tables
    assert table.columns == ("target", "backend")
    methods = ("float32", "magnitude_prune(sparsity=0.5)", "magnitude_prune(sparsity=0.9)")
    assert {axis: tuple(labels) for axis, labels in table.only.items()} == {"method": methods, "backend": ("litert",)}
    assert (table.precision, table.sort, table.bold, table.interval) == ({"latency": 2}, "latency", "significant", "below")


def test_a_figure_is_read_with_its_size(tmp_path: Path) -> None:
    (figure,) = _load(FIGURE, tmp_path).figures
    assert (figure.width_in, figure.height, figure.panels, figure.font) == (7.0, 2.5, ("backend",), "Nimbus Roman")
    assert _load(FIGURE.replace("double", "3.5"), tmp_path).figures[0].width_in == 3.5


def test_a_suite_without_tables_has_a_summary_and_no_figure(tmp_path: Path) -> None:
    suite = _load("", tmp_path)
    assert [table.name for table in suite.tables] == ["summary"] and suite.figures == ()
    assert suite.to_json()["tables"][0]["metrics"] == TableSpec("summary").metrics


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_fills_what_the_table_leaves_out(layout: str, tmp_path: Path) -> None:
    (table,) = _load(f"tables: [{{name: t, layout: {layout}, metrics: latency}}]", tmp_path).tables
    assert table.metrics == ("latency",)
    assert list(table.columns) == LAYOUTS[layout]["columns"]


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("name: t1", "nmae: t1", 5, "unknown key `nmae`. Did you mean `name`"),
        ("name: t1", 'name: "../t"', 5, "becomes a file name"),
        ("name: t1", "name: t1\n    label: 'tab}'", 6, "a label is letters"),
        ("[model, method]", "[model, metod]", 6, "unknown rows `metod`. Did you mean `method`"),
        ("[model, method]", "[model, model]", 6, "twice"),
        ("[model, method]", "[]", 6, "at least one row axis"),
        ("[target, backend]", "[target, model]", 7, "cannot be both rows and columns"),
        ("[target, backend]", "[target, 3]", 7, "valid string"),
        ("[latency, quality]", "[latncy]", 8, "unknown metrics `latncy`. Did you mean `latency`"),
        ('["magnitude*", float32]', "[flaot32]", 9, "`flaot32` matches nothing here. Did you mean `float32`"),
        ("only: {method:", "only: {methd:", 9, "unknown key `methd`. Did you mean `method`"),
        ("{latency: 2}", "{latency: 12}", 10, "0 to 9 digits"),
        ("{latency: 2}", "{latncy: 2}", 10, "unknown precision `latncy`"),
        ("{latency: 2}", "{latency: two}", 10, "integer"),
        ("sort: latency", "sort: latncy", 11, "unknown sort `latncy`"),
        ("sort: latency", "bold: sometimes", 11, "significant"),
        ("sort: latency", "among: backend", 11, "unknown among `backend`"),
        ("sort: latency", "layout: latency_per_devise", 11, "Did you mean `latency_per_device`"),
        ("sort: latency", "environment: longtable", 11, "add `wide: keep`"),
        ("sort: latency", "siunitx: 1", 11, "boolean"),
        ("  - name: t1", "  - name: t1\n  - name: t1", 6, "named twice"),
    ],
)
def test_a_table_that_makes_no_sense_names_its_line(old: str, new: str, line: int, says: str, tmp_path: Path) -> None:
    assert old in TABLE
    with pytest.raises(UserError) as caught:
        _load(TABLE.replace(old, new, 1), tmp_path)
    message = str(caught.value)
    assert says in message and f"suite.yaml:{line}:" in message, message


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("kind: trade_off", "kind: pie", 6, "trade_off"),
        ("x: artifact_size", "x: artifact_siz", 8, "unknown x `artifact_siz`. Did you mean `artifact_size`"),
        ("width: double", "width: 0.2", 9, "`width` is from 1 to 20"),
        ("width: double", "width: wide", 9, "width"),
        ("height: 2.5", "height: 99", 10, "`height` is from 0.5 to 20"),
        ("height: 2.5", "font_size: 1", 10, "`font_size` is from 4 to 24"),
        ("panels: [backend]", "panels: [method]", 11, "unknown panels `method`"),
        ("font: Nimbus Roman", "font: 'x\"/><'", 12, "a font's name"),
    ],
)
def test_a_figure_that_makes_no_sense_names_its_line(old: str, new: str, line: int, says: str, tmp_path: Path) -> None:
    assert old in FIGURE
    with pytest.raises(UserError) as caught:
        _load(FIGURE.replace(old, new, 1), tmp_path)
    message = str(caught.value)
    assert says in message and f"suite.yaml:{line}:" in message, message


@pytest.mark.parametrize("key", ["tables", "figures"])
def test_tables_and_figures_are_lists(key: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"suite.yaml:4: `{key}` is a list, not 7"):
        _load(f"{key}: 7", tmp_path)
    with pytest.raises(UserError, match=r"suite.yaml:4: expected a mapping .* not 'name'"):
        _load(f"{key}: [name]", tmp_path)


def test_every_metric_has_a_title_and_every_word_is_documented() -> None:
    assert {*METRICS} <= {*PRINTED}
    text = (Path(__file__).parents[2] / "docs" / "write-a-suite.md").read_text()
    words = [*LAYOUTS, *get_args(get_type_hints(FigureSpec)["kind"])]
    for kind in (TableSpec, FigureSpec):
        words += [field.name for field in dataclasses.fields(kind)]
    assert [word for word in words if f"`{word}`" not in text] == []
