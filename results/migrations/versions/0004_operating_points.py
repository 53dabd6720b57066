"""Operating points beside threads and batch: CPUs, governor, clock."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for table in ("records", "run_cells"):
        op.add_column(table, sa.Column("cpus", sa.Text()))
        op.add_column(table, sa.Column("governor", sa.Text()))
        op.add_column(table, sa.Column("frequency_hz", sa.BigInteger()))
