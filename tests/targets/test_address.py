"""Addresses as people write them."""

from __future__ import annotations

import pytest

from targets.address import Address, parse_address
from targets.errors import UserError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("board", Address("", "board", 0)),
        ("pi@board.local", Address("pi", "board.local", 0)),
        ("pi@10.0.0.7:2222", Address("pi", "10.0.0.7", 2222)),
        ("me@corp@gate:22", None),
        ("pi@[fe80::1]:22", Address("pi", "fe80::1", 22)),
        ("[::1]", Address("", "::1", 0)),
        (" board ", Address("", "board", 0)),
        ("", None),
        ("pi@", None),
        ("board:", None),
        ("board:99999", None),
        ("fe80::1", None),
        ("-oProxyCommand=x", None),
        ("a b", None),
    ],
)
def test_addresses(text: str, address: Address | None) -> None:
    if address is not None:
        assert parse_address(text) == address
    else:
        with pytest.raises(UserError, match="is not an address"):
            parse_address(text)
