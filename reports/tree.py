"""Plain JSON values as nested HTML lists. Written by hand, not as a recursive template, to be fast for thousands of cells."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from results.printable import printable

MAX_DEPTH = 12
"""Deeper values are printed as one line of JSON."""


def json_tree(value: Any) -> Markup:
    parts: list[str] = []
    _tree(value, 0, parts)
    return Markup("".join(parts))  # noqa: S704 - every text is escaped below


def section(value: Any, *path: str) -> Mapping[str, Any]:
    """The mapping at a path; empty where there is something else: what a device filled in is not trusted to have a shape."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> Sequence[Any]:
    """The list that a value should be; empty where it is something else."""
    return value if isinstance(value, (list, tuple)) else ()


def _tree(value: Any, depth: int, parts: list[str]) -> None:
    if isinstance(value, dict) and value and depth < MAX_DEPTH:
        parts.append("<dl>")
        for key, item in value.items():
            parts.append(f"<dt>{_escaped(str(key))}</dt><dd>")
            _tree(item, depth + 1, parts)
            parts.append("</dd>")
        parts.append("</dl>")
    elif isinstance(value, (list, tuple)) and value:
        if depth < MAX_DEPTH and any(isinstance(item, (dict, list, tuple)) for item in value):
            parts.append("<ol>")
            for item in value:
                parts.append("<li>")
                _tree(item, depth + 1, parts)
                parts.append("</li>")
            parts.append("</ol>")
        else:
            parts.append(_escaped(", ".join(map(_scalar, value))))
    elif isinstance(value, str) and "\n" in value:
        parts.append(f"<pre>{_escaped(value)}</pre>")
    else:
        parts.append(_escaped(_scalar(value)))


def _escaped(text: str) -> str:
    return html.escape(printable(text, lines=True))


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value
    if type(value) in (int, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False, default=str)
