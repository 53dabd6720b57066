from __future__ import annotations

import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from results.printable import printable

ANY = st.text(st.characters(codec=None) | st.sampled_from("\x1b\x07\u202e\u200b\ud800\udcff\x00\r\n\t\u2028\ufeff"))


def test_hidden_characters_print_as_their_escapes() -> None:
    assert printable("a\x1b[31mb") == r"a\x1b[31mb"
    assert printable("gpj.\u202eexe\u200b\x00\ud800") == r"gpj.\u202eexe\u200b\x00\ud800"
    assert printable("\U000e0041") == r"\U000e0041"


def test_what_can_be_read_stays() -> None:
    text = "int8 (µ=0.5) – naïve, 模型, שלום, 🙂, no\u00a0break"
    assert printable(text) == text


def test_line_ends_stay_only_where_lines_are_asked_for() -> None:
    assert printable("a\r\nb\tc\rd\n", lines=True) == "a\nb\tc\\rd\n"
    assert printable("a\r\nb\tc") == r"a\r\nb\tc"


@given(ANY)
def test_nothing_hidden_is_left_and_all_else_is_kept(text: str) -> None:
    shown = printable(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    shown.encode("utf-8")
    assert printable(shown) == shown
    assert [c for c in text if c.isprintable()] == [c for c in text if c in shown and c.isprintable()]


def test_every_control_character_is_hidden() -> None:
    controls = [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) in ("Cc", "Cf", "Cs")]
    assert len(controls) > 2000
    assert printable("".join(controls)).isprintable()
