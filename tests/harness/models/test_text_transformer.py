from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.data import DataSpec
from harness.models import Model
from harness.models.text_transformer import MODEL

pytestmark = pytest.mark.torch


def test_width_must_divide_among_the_heads() -> None:
    spec = DataSpec((28,), 150, "", "int64", 2829)
    assert MODEL(width=60, heads=4).accepts(spec) is None
    assert "cannot be split among 4 heads" in str(MODEL(width=62, heads=4).accepts(spec))


def test_counts_are_those_of_the_formula(counted: Callable[[Model, DataSpec], tuple[int, ...]]) -> None:
    """Per layer 4 d^2 + 2 d (4 d) products a place; nothing for look-ups and attention."""
    counts = counted(MODEL(layers=3, width=32), DataSpec((20,), 150, "", "int64", 1000))
    assert counts[2] == 3 * 20 * 12 * 32 * 32 + 32 * 150
