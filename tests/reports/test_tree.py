from __future__ import annotations

from typing import Any

import pytest

from reports.tree import MAX_DEPTH, json_tree


@pytest.mark.parametrize(
    ("value", "html"),
    [
        ({"a": 1, "b": {"c": None}}, "<dl><dt>a</dt><dd>1</dd><dt>b</dt><dd><dl><dt>c</dt><dd>null</dd></dl></dd></dl>"),
        ([1, 2.5, "x", True], "1, 2.5, x, true"),
        ([{"a": 1}, "x"], "<ol><li><dl><dt>a</dt><dd>1</dd></dl></li><li>x</li></ol>"),
        ("two\nlines", "<pre>two\nlines</pre>"),
        ({}, "{}"),
        ([], "[]"),
        ("", ""),
    ],
)
def test_json_prints_as_nested_lists(value: Any, html: str) -> None:
    assert str(json_tree(value)) == html


def test_hostile_keys_and_values_are_escaped() -> None:
    html = str(json_tree({"<script>": ["</dd>", {"&": '"><img src=x>'}], "pre": "<b>\n</b>"}))
    assert "<script" not in html and "<img" not in html and "<b>" not in html
    assert "&lt;script&gt;" in html


def test_a_bottomless_value_ends_as_one_line_of_json() -> None:
    value: Any = "end"
    for _ in range(500):
        value = {"k": value}
    html = str(json_tree(value))
    assert html.count("<dl>") == MAX_DEPTH
    assert "end" in html
