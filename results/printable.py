"""Text that a suite or a device chose, made safe to show: what would act on a terminal or deceive a reader's eye prints as its code."""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Controls, invisible format characters (right-to-left overrides, zero-width ones), lone surrogates, unassigned; other line ends."""


def printable(text: str, *, lines: bool = False) -> str:
    r"""The text with each hidden character as its escape: `\x1b`, `\u202e`. `lines`: line ends and tabs stay as they are.

    The result can always be encoded as UTF-8 and holds no terminal sequence (Unicode Technical Report 36 on the rest).
    """
    if text.isprintable():
        return text
    if lines:
        text = text.replace("\r\n", "\n")
    kept = "\n\t" if lines else ""
    return "".join(c if c in kept or unicodedata.category(c) not in _HIDDEN else _code(c) for c in text)


def _code(character: str) -> str:
    return {"\n": r"\n", "\t": r"\t", "\r": r"\r"}.get(character) or character.encode("unicode_escape").decode()
