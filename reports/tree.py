"""Plain JSON values as nested HTML lists. Written by hand, not as a recursive template, to be fast for thousands of cells."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup, escape

MAX_DEPTH = 12
"""Deeper values are printed as one line of JSON."""


def json_tree(value: Any) -> Markup:
    return Markup("".join(_tree(value, 0)))  # noqa: S704 - every value is escaped below


def _tree(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, Mapping) and value and depth < MAX_DEPTH:
        yield "<dl>"
        for key, item in value.items():
            yield f"<dt>{escape(key)}</dt><dd>"
            yield from _tree(item, depth + 1)
            yield "</dd>"
        yield "</dl>"
    elif (
        isinstance(value, (list, tuple)) and depth < MAX_DEPTH and any(isinstance(item, (Mapping, list, tuple)) for item in value)
    ):
        yield "<ol>"
        for item in value:
            yield "<li>"
            yield from _tree(item, depth + 1)
            yield "</li>"
        yield "</ol>"
    elif isinstance(value, (list, tuple)) and value:
        yield str(escape(", ".join(_scalar(item) for item in value)))
    elif isinstance(value, str) and "\n" in value:
        yield f"<pre>{escape(value)}</pre>"
    else:
        yield str(escape(_scalar(value)))


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value
    if type(value) in (int, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False, default=str)
