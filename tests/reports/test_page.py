from __future__ import annotations

from markupsafe import Markup

from reports.page import MEANINGS, breakable, escape, templates, traced
from results.record import STATUSES


def test_every_status_has_words() -> None:
    assert tuple(MEANINGS) == STATUSES


def test_text_is_escaped_once_and_hidden_characters_are_shown() -> None:
    assert escape("<a>\x1b\u202e\n") == "&lt;a&gt;\\x1b\\u202e\n"
    assert escape(Markup("<b>")) == "<b>"
    assert breakable("f(a=<x>)\x00") == "f(<wbr>a=&lt;x&gt;)\\x00"


def test_templates_show_what_is_hidden_and_keep_markup() -> None:
    template = templates().from_string("{{ text }}|{{ number }}|{{ markup }}|{{ text|breakable }}")
    shown = template.render(text="<\x1b>", number=3, markup=Markup("<i>\n</i>"))
    assert shown == "&lt;\\x1b&gt;|3|<i>\n</i>|&lt;\\x1b&gt;"


def test_a_traced_number_names_its_record_and_si_values() -> None:
    assert traced("1 ms", "ab", "latency", 1e-3, 0.9e-3, 1.1e-3) == (
        '<span data-record="ab" data-metric="latency" data-value="0.001" data-low="0.0009" data-high="0.0011">1 ms</span>'
    )
    assert traced("2", '"><x', "m", 2.0, statistic="p90") == (
        '<span data-record="&#34;&gt;&lt;x" data-metric="m" data-statistic="p90" data-value="2">2</span>'
    )
