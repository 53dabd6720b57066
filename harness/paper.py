"""The `tables` and `figures` of a suite: what a paper asks for, read strictly, its patterns resolved to labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from harness.errors import nearest
from harness.plugins import matches
from results.paper import CELL_AXES, COLUMN_AXES, LAYOUTS, ROW_AXES, FigureSpec, TableSpec
from targets.document import Document, Place, Reader

METRICS = (
    "latency", "speedup", "claimed_speedup", "quality", "quality_change", "artifact_size", "claimed_size_ratio", "claimed_params_ratio",
    "peak_memory", "model_memory", "instructions", "energy", "energy_net", "power", "peak_power",
    "macs", "nonzero_macs", "params", "nonzero_params", "weight_bits", "weight_bytes",
)  # fmt: skip
"""What a paper may print: measurements, claims, and ratios to the baseline."""

Spec = TypeVar("Spec", TableSpec, FigureSpec)


class PaperReader(Reader):
    def __init__(self, document: Document, labels: Mapping[str, Sequence[str]]) -> None:
        super().__init__(document)
        self.labels = labels
        """axis -> labels of the suite"""

    def tables(self) -> tuple[TableSpec, ...]:
        items = self._items("tables", [{"name": "summary"}])
        return self._uniquely_named("tables", tuple(self._table(item, ("tables", index)) for index, item in enumerate(items)))

    def figures(self) -> tuple[FigureSpec, ...]:
        items = self._items("figures", [])
        return self._uniquely_named("figures", tuple(self._figure(item, ("figures", index)) for index, item in enumerate(items)))

    def _table(self, given: Any, place: Place) -> TableSpec:
        if isinstance(given, dict) and "layout" in given:
            layout = given["layout"]
            self._known(place, "layout", [layout], tuple(LAYOUTS))
            given = {**LAYOUTS[layout], **{key: value for key, value in given.items() if key != "layout"}}
        if isinstance(given, dict):
            lone = {key: [given[key]] for key in ("rows", "columns", "metrics") if isinstance(given.get(key), str)}
            given = {**given, **lone}
        table: TableSpec = self._spec(place, TableSpec, given)
        self._known(place, "rows", table.rows, ROW_AXES)
        self._known(place, "columns", table.columns, COLUMN_AXES)
        for key in ("metrics", "precision"):
            self._known(place, key, getattr(table, key), METRICS)
        self._known(place, "sort", [table.sort] * bool(table.sort), METRICS)
        self._known(place, "among", [table.among] * bool(table.among), table.rows)
        for key, names in (("rows", table.rows), ("columns", table.columns), ("metrics", table.metrics)):
            if len(set(names)) < len(names):
                raise self.error((*place, key), f"`{key}` names one of {', '.join(names)} twice")
        both = [axis for axis in table.columns if axis in table.rows]
        if both:
            raise self.error((*place, "columns"), f"axis `{both[0]}` cannot be both rows and columns")
        if not table.rows:
            raise self.error((*place, "rows"), "a table needs at least one row axis")
        for metric, digits in table.precision.items():
            if not 0 <= digits <= 9:
                raise self.error((*place, "precision", metric), f"`{metric}` has 0 to 9 digits after the point, not {digits}")
        if table.environment == "longtable" and table.wide != "keep":
            raise self.error(
                (*place, "environment"), "a longtable breaks over pages and can be neither shrunk nor split: add `wide: keep`"
            )
        return table

    def _figure(self, given: Any, place: Place) -> FigureSpec:
        figure: FigureSpec = self._spec(place, FigureSpec, given)
        for key in ("x", "y"):
            self._known(place, key, [getattr(figure, key)] * bool(getattr(figure, key)), METRICS)
        self._known(place, "panels", figure.panels or (), [axis for axis in CELL_AXES if axis != "method"])
        for key, value, least, most in (
            ("width", figure.width_in, 1.0, 20.0),
            ("height", figure.height or 1.0, 0.5, 20.0),
            ("font_size", figure.font_size, 4.0, 24.0),
        ):
            if not least <= value <= most:
                raise self.error((*place, key), f"`{key}` is from {least:g} to {most:g}, not {value:g}")
        if not re.fullmatch(r"[A-Za-z0-9 -]{1,64}", figure.font):
            raise self.error((*place, "font"), f"a font's name is letters, digits, spaces and -, not {figure.font!r}")
        return figure

    def _spec(self, place: Place, kind: type[Spec], given: Any) -> Spec:
        if isinstance(given, dict) and "only" in given:
            given = {**given, "only": self._only(given["only"], (*place, "only"))}
        spec: Spec = self.settings(place, kind, given)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", spec.name):
            raise self.error((*place, "name"), f"a name becomes a file name: letters, digits, - and _, not {spec.name!r}")
        if not re.fullmatch(r"[A-Za-z0-9:_.-]{0,80}", spec.label):
            raise self.error((*place, "label"), f"a label is letters, digits, `:`, `_`, `.` and `-`, not {spec.label!r}")
        return spec

    def _only(self, given: Any, place: Place) -> dict[str, list[str]]:
        """axis -> the labels that match one of the patterns given for it."""
        self.keys(given, place, CELL_AXES)
        chosen = {}
        for axis, patterns in given.items():
            alternatives = [str(pattern) for pattern in (patterns if isinstance(patterns, list) else [patterns])]
            for pattern in alternatives:
                if not any(matches(pattern, label) for label in self.labels[axis]):
                    near = nearest(pattern, self.labels[axis])
                    raise self.error((*place, axis), f"{axis} `{pattern}` matches nothing here.{near}")
            chosen[axis] = [label for label in self.labels[axis] if any(matches(pattern, label) for pattern in alternatives)]
        return chosen

    def _items(self, key: str, default: list[Any]) -> list[Any]:
        items = self.document.value.get(key, default)
        if not isinstance(items, list):
            raise self.error((key,), f"`{key}` is a list, not {items!r}")
        return items

    def _known(self, place: Place, key: str, names: Iterable[Any], known: Sequence[str]) -> None:
        for name in names:
            if name not in known:
                raise self.error((*place, key), f"unknown {key} `{name}`.{nearest(str(name), known)}")

    def _uniquely_named(self, key: str, specs: tuple[Spec, ...]) -> tuple[Spec, ...]:
        for index, spec in enumerate(specs):
            if spec.name in [other.name for other in specs[:index]]:
                raise self.error((key, index), f"{key} `{spec.name}` is named twice")
        return specs
