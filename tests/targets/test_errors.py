"""Messages end with the next step: the nearest name, or the names there are."""

from __future__ import annotations

import pytest

from targets.errors import nearest


@pytest.mark.parametrize(
    ("name", "known", "says"),
    [
        ("smok", ["smoke", "other"], " Did you mean `smoke`?"),
        ("zzz", ["b", "a"], " Known: a, b."),
        ("zzz", [], ""),
    ],
)
def test_nearest(name: str, known: list[str], says: str) -> None:
    assert nearest(name, known) == says
