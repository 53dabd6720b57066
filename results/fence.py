"""The fence: what was measured under a lease of a device is refused once a later lease of it is known (M. Kleppmann's fencing tokens, 2016)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from results.database import StoreError
from results.record import Json
from results.schema import LEASES

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class StaleLease(StoreError):  # noqa: N818 - says what is wrong
    """The device was given to another meanwhile: what this one measured may not be kept."""


def admit(connection: Connection, lease: Json) -> None:
    """StaleLease for a token lower than the highest seen of its device; a higher one is the highest from now on.

    `lease`: `device`, `token`, `holder`. One statement decides, in the caller's transaction: two who write at once wait for each other.
    """
    row = {name: lease[name] for name in ("device", "token", "holder")}
    insert = _INSERT[connection.dialect.name](LEASES).values(row)
    newer = {"token": insert.excluded.token, "holder": insert.excluded.holder}
    told = insert.on_conflict_do_update(index_elements=["device"], set_=newer, where=LEASES.c.token <= insert.excluded.token)
    if connection.execute(told.returning(LEASES.c.token)).first() is None:
        now = connection.execute(sa.select(LEASES).where(LEASES.c.device == row["device"])).one()
        raise StaleLease(
            f"device {row['device']} was leased again since (token {now.token} to {now.holder}): what {row['holder']} measured there under "
            f"token {row['token']} is refused; run again"
        )


def highest_token(connection: Connection, device: str) -> int:
    """0: none is known."""
    return connection.execute(sa.select(LEASES.c.token).where(LEASES.c.device == device)).scalar() or 0
