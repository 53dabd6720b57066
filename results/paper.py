"""What a paper asks for: its tables and figures as data. A suite names them, they are stored with its Run, a report draws them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

STATE_AXES = ("cpus", "governor", "frequency_hz")
POINT_AXES = ("threads", "batch", *STATE_AXES)
CELL_AXES = ("model", "method", "backend", "target", *POINT_AXES)
ROW_AXES = (*CELL_AXES, "family", "strength")
"""What a table's rows may be. A method whose one number is swept, like `prune(sparsity=0.5)`, is a family and a strength."""
COLUMN_AXES = (*ROW_AXES, "metric")
"""`metric` among the columns says at which level the metrics stand; they are innermost where it is left out."""
COLUMN_WIDTHS = {"single": 3.3, "double": 7.0}
"""Inches of one and of both columns of a two-column page."""


@dataclass(frozen=True)
class TableSpec:
    """One table of a paper."""

    name: str
    """Its file's name."""
    caption: str = ""
    label: str = ""
    """What `\\ref` takes; `tab:` and the name when left out."""
    rows: tuple[str, ...] = ("model", "method")
    """Axes, the leftmost groups the rows."""
    columns: tuple[str, ...] = ("backend",)
    """Axes, the first on top of the header; one may be `metric`."""
    metrics: tuple[str, ...] = ("latency", "speedup", "quality", "artifact_size")
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Axis -> the labels that the table shows; an axis that is not named shows all."""
    sort: str = ""
    """Metric that orders the rows of a group, best first; the suite's order when left out."""
    precision: Mapping[str, int] = field(default_factory=dict)
    """Metric -> digits after the point, in the printed unit; the interval decides for the others."""
    bold: Literal["significant", "always", "none"] = "significant"
    """Which cell of a group is bold: the best where its lead is no chance, the best, or none."""
    among: str = ""
    """Row axis whose cells compete for bold; `method` or `family` where it is one of the rows, else the last of them."""
    interval: Literal["below", "half", "none"] = "below"
    """How a 95 % interval prints: its ends below the value, half its width after a ±, or not."""
    siunitx: bool = False
    """Whether LaTeX aligns numbers at the point by siunitx's S columns."""
    environment: Literal["table", "table*", "sidewaystable", "longtable"] = "table"
    """LaTeX's float: one column, both, turned by 90 degrees, or over several pages."""
    wide: Literal["shrink", "split", "keep"] = "shrink"
    """A table wider than its column: made smaller, set as one part below another for each top header, or left to stick out."""


@dataclass(frozen=True)
class FigureSpec:
    """One figure of a paper."""

    name: str
    """Its file's name."""
    kind: Literal["trade_off", "claimed_and_measured", "speedup_bars", "sweep"]
    caption: str = ""
    label: str = ""
    """What `\\ref` takes; `fig:` and the name when left out."""
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Axis -> the labels that the figure shows; an axis that is not named shows all."""
    x: str = ""
    """Metric of the horizontal axis; each kind has its own when left out."""
    y: str = ""
    """Metric of the vertical axis; each kind has its own when left out."""
    panels: tuple[str, ...] | None = None
    """Axes with a panel for each label; all that vary beside the method when left out."""
    width: Literal["single", "double"] | float = "single"
    """A column of the page, both, or inches."""
    height: float | None = None
    """Inches; what suits the kind when left out."""
    font_size: float = 8.0
    """Points."""
    font: str = "Liberation Sans"
    """The one font that is the same on every machine; another must be installed where the report is made."""

    @property
    def width_in(self) -> float:
        return COLUMN_WIDTHS[self.width] if isinstance(self.width, str) else self.width


LAYOUTS: Mapping[str, Mapping[str, Any]] = {
    "accuracy_and_compression": {
        "columns": [],
        "metrics": ["claimed_params_ratio", "claimed_speedup", "claimed_size_ratio", "quality", "quality_change"],
    },
    "latency_per_device": {"columns": ["target"], "metrics": ["latency", "speedup"]},
    "method_by_strength": {
        "rows": ["model", "family"],
        "columns": ["metric", "strength"],
        "metrics": ["quality", "speedup"],
        "interval": "none",
    },
}
"""Shapes common in this field: what a table says when it names one, and may say otherwise."""

Spec = TypeVar("Spec", TableSpec, FigureSpec)


def spec_from_json(kind: type[Spec], document: Mapping[str, Any]) -> Spec:
    """A spec as it is stored with a run. A lone name stands for a list of one."""
    given = {f.name: _frozen(document[f.name]) for f in dataclasses.fields(kind) if f.name in document}
    for key in ("rows", "columns", "metrics"):
        if isinstance(given.get(key), str):
            given[key] = (given[key],)
    return kind(**given)


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return {key: _frozen(item) for key, item in value.items()} if isinstance(value, Mapping) else value
