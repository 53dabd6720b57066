from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.data import DataSpec
from harness.models import Model
from harness.models.minilm_l6 import MODEL

pytestmark = pytest.mark.torch


def test_counts_are_the_published_ones(counted: Callable[[Model, DataSpec], tuple[int, ...]]) -> None:
    """22,713,216 parameters (22.7 M on the model card) are ours at 512 places without head, its pooler and its two token types."""
    pooler, types, head = 384 * 384 + 384, 2 * 384, 150 * 384 + 150
    counts = counted(MODEL(), DataSpec((512,), 150, "", "int64", 30_522))
    assert counts[0] == 22_713_216 - pooler - types + head
    assert counts[2] == 512 * 6 * (4 * 384 * 384 + 2 * 384 * 1536) + 384 * 150


def test_other_words_or_too_many_are_refused() -> None:
    assert "30522 word pieces" in str(MODEL().accepts(DataSpec((28,), 150, "", "int64", 2829)))
    assert "512 tokens" in str(MODEL().accepts(DataSpec((513,), 150, "", "int64", 30_522)))
