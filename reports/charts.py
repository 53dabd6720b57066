"""What the interactive charts of a page draw: one compact table of all ok cells, which `assets/charts.js` filters and hands to Vega-Lite."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from reports.contests import network_of
from reports.findings import CLAIMED_RATIOS, Findings, Quantity
from reports.matrix import AXES, place_of
from reports.metrics import METRICS
from reports.rounding import Scale, scale_for
from reports.strength import strengths
from results.record import Record

MEASURED = (
    "quality", "quality_change", "latency", "speedup", "energy", "energy_net", "power", "peak_power", "peak_memory",
    "model_memory", "artifact_size", "instructions",
)  # fmt: skip
CLAIMED: Mapping[str, str] = {
    **dict.fromkeys(("nonzero_macs", "nonzero_params", "weight_bytes", "weight_bits"), "low"),
    **dict.fromkeys(CLAIMED_RATIOS, "high"),
}
"""Claim -> which end of it is the good one: a trade-off may be drawn against what is claimed, too."""
DIGITS = 5
"""Significant digits of a number in a chart: a tenth of a pixel. The tables print by the interval's width."""


def chart_data(findings: Findings) -> Markup | None:
    """The table as JSON for a `<script type="application/json">`; None where no cell has numbers. Layers are left to their networks."""
    networks = findings.matrix.labels["model"]
    records = [
        r for r in findings.matrix.records.values() if r.status == "ok" and not (r.axes.layer and network_of(r) in networks)
    ]
    if not records:
        return None
    known = strengths(findings.matrix.labels["method"], dict(findings.run.document.get("defaults") or {}))
    remarks: dict[str, int] = {}
    document = {
        "id": [record.id for record in records],
        "axes": [_axis(axis, [place_of(record.axes).label(axis) for record in records]) for axis in AXES],
        "strength": {method: [s.family, s.parameter, s.value] for method, s in known.items() if s.value is not None},
        "metrics": [column for name in (*MEASURED, *CLAIMED) if (column := _metric(findings, name, records)) is not None],
        "measured": [int(findings.quantity(record, "latency").origin in (None, "measured")) for record in records],
        "baseline": [int(findings.is_baseline(record)) for record in records],
        "remarks": [
            [remarks.setdefault(remark, len(remarks)) for remark in findings.quantity(record, "latency").remarks]
            for record in records
        ],
    }
    text = json.dumps({**document, "words": list(remarks)}, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))  # noqa: S704 - nothing can end the script element


@functools.cache
def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, to be kept beside the page: nothing is fetched from anywhere."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def _axis(name: str, labels: Sequence[str]) -> dict[str, Any]:
    number = {label: n for n, label in enumerate(dict.fromkeys(labels))}
    return {"name": name, "labels": list(number), "of": [number[label] for label in labels]}


def _metric(findings: Findings, name: str, records: Sequence[Record]) -> dict[str, Any] | None:
    """One metric of all cells in one unit; None where no cell has it."""
    quantities = [findings.quantity(record, name) for record in records]
    found = [q for q in quantities if q.value is not None]
    if not found:
        return None
    scale = scale_for(found[0].unit, name, [q.value for q in found if q.value is not None])
    return {
        "name": name,
        "title": findings.title(name, records),
        "unit": scale.unit,
        "better": CLAIMED.get(name) or METRICS[name].better,
        "claimed": int(name in CLAIMED),
        "value": _scaled((q.value for q in quantities), scale),
        **_ends(quantities, scale),
    }


def _ends(quantities: Sequence[Quantity], scale: Scale) -> dict[str, list[float | None]]:
    if all(q.low is None for q in quantities):
        return {}
    return {"low": _scaled((q.low for q in quantities), scale), "high": _scaled((q.high for q in quantities), scale)}


def _scaled(values: Iterable[float | None], scale: Scale) -> list[float | None]:
    return [None if value is None else float(f"{value / scale.factor:.{DIGITS}g}") for value in values]
