from __future__ import annotations

import pytest
from torch import nn

from harness.compression.numerics.regularity import parse
from harness.compression.numerics.removable import parse_removable, unremovable
from harness.errors import UserError


@pytest.mark.parametrize("label", ["unstructured", "block-punched 1x32", "2:4", "1x16", "block-punched 8x4"])
def test_what_surgery_can_remove_is_read(label: str) -> None:
    assert parse_removable(label, (0.5,)) == parse(label)


@pytest.mark.parametrize("label", ["filter", "pattern", "block 4x4"])
def test_what_it_cannot_is_refused(label: str) -> None:
    with pytest.raises(UserError, match="surgery removes single weights"):
        parse_removable(label)


def test_a_block_wider_than_the_loop_keeps_aside_is_refused() -> None:
    with pytest.raises(UserError, match="up to 32"):
        parse_removable("block-punched 1x33")


def test_a_kernel_wider_than_the_loop_keeps_aside_stays() -> None:
    assert unremovable(parse("1x4"), nn.Conv2d(8, 8, 5)) is None
    assert "49 weights" in str(unremovable(parse("1x4"), nn.Conv2d(8, 8, 7)))
    assert unremovable(parse("block-punched 4x1"), nn.Conv2d(8, 8, 7)) is None
    assert "do not fill a block" in str(unremovable(parse("1x16"), nn.Conv2d(8, 8, 3)))


def test_every_share_is_checked() -> None:
    with pytest.raises(UserError, match=r"`2:4` removes 0\.5 of the weights, not 0\.7"):
        parse_removable("2:4", (0.5, 0.7))
