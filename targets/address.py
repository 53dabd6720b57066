"""`user@host:port`, as people write where a device is."""

from __future__ import annotations

import re
from typing import NamedTuple

from targets.errors import UserError

_ADDRESS = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[^\]\s]+\]|[^:@\s\[\]-][^:@\s\[\]]*)(?::(?P<port>\d{1,5}))?")


class Address(NamedTuple):
    user: str
    """Empty where none is named."""
    host: str
    port: int
    """0 where none is named."""


def parse_address(text: str) -> Address:
    """`pi@board:2222`, `board`, `pi@[fe80::1]:22`."""
    match = _ADDRESS.fullmatch(text.strip())
    port = int(match["port"] or 0) if match else 0
    if match is None or port > 65535:
        raise UserError(f"`{text}` is not an address; write user@host, user@host:port or user@[ipv6]:port")
    return Address(match["user"] or "", match["host"].strip("[]"), port)
