from __future__ import annotations

import pytest

from harness.compression.numerics.regularity import parse
from harness.compression.numerics.rowwise import parse_rowwise
from harness.errors import UserError


@pytest.mark.parametrize("label", ["unstructured", "block-punched 1x32", "2:4"])
def test_what_lies_within_a_filter_is_read(label: str) -> None:
    assert parse_rowwise(label, (0.5,)) == parse(label)


@pytest.mark.parametrize("label", ["1x16", "filter", "pattern", "block 4x4", "block-punched 8x4"])
def test_a_regularity_of_several_filters_is_refused(label: str) -> None:
    with pytest.raises(UserError, match="every filter is pruned by itself"):
        parse_rowwise(label, ())


def test_a_block_wider_than_the_loop_keeps_aside_is_refused() -> None:
    with pytest.raises(UserError, match="up to 32"):
        parse_rowwise("block-punched 1x33", ())


def test_every_share_is_checked() -> None:
    with pytest.raises(UserError, match=r"`2:4` removes 0\.5 of the weights, not 0\.7"):
        parse_rowwise("2:4", (0.5, 0.7))
