"""What became of visits to devices, and which are in quarantine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "device_events",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("happened", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_device_events"),
    )
    op.create_index("ix_device_events_target", "device_events", ["target"])
