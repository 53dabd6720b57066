"""What all pages share: the templates and their filters, and the words for a status."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import jinja2
import markupsafe
from markupsafe import Markup

from reports.matrix import axis_title, place_of
from results.printable import printable

MEANINGS: Mapping[str, str] = {
    "ok": "ran, and its answers are right",
    "unsupported": "this backend cannot run this network; nothing went wrong",
    "wrong": "ran, but its answers are not the compressed network's own, so no number of it counts",
    "failed": "training, compressing, building or running ended with an error",
    "unreachable": "the device did not answer",
    "invalid": "measured under conditions that void it",
}


@cache
def templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.filters["breakable"] = breakable
    environment.globals["place_of"] = place_of
    environment.globals["axis_title"] = axis_title
    environment.globals["traced"] = traced
    return environment


def escape(text: object) -> Markup:
    """Text of a suite or a device as HTML that prints it and does nothing else; what is Markup already stays as it is."""
    return markupsafe.escape(_shown(text))


def traced(
    text: str, record: str, metric: str, value: float, low: float | None = None, high: float | None = None, statistic: str = ""
) -> Markup:
    """A printed number that says where it comes from: the record, the metric, the SI values; `statistic` where it is not the estimate."""
    ends = "" if low is None or high is None else f' data-low="{low:.12g}" data-high="{high:.12g}"'
    kind = f' data-statistic="{escape(statistic)}"' if statistic else ""
    about = f'data-record="{escape(record)}" data-metric="{escape(metric)}"{kind} data-value="{value:.12g}"{ends}'
    return Markup(f"<span {about}>{escape(text)}</span>")  # noqa: S704 - every text is escaped


def breakable(label: str) -> Markup:
    """A label that may be broken after its punctuation, where a reader would break it."""
    return Markup(re.sub(r"([(_,/])", r"\1<wbr>", str(escape(label))))  # noqa: S704 - escaped before the marks are put in


def _shown(value: object) -> object:
    return printable(value, lines=True) if isinstance(value, str) and not isinstance(value, Markup) else value
