"""The first store: runs, their cells, records, measurements, samples, journalled launches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "runs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("suite", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("seed", sa.Text(), nullable=False),
        sa.Column("started", sa.String(), nullable=False),
        sa.Column("finished", sa.String()),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_suite", "runs", ["suite"])
    op.create_table(
        "records",
        sa.Column("number", number, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("cell_key", sa.String(), nullable=False),
        sa.Column("input_hash", sa.String(), nullable=False),
        sa.Column("machine_key", sa.String(), nullable=False),
        *_axes(),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("error_class", sa.Text()),
        sa.Column("started", sa.String(), nullable=False),
        sa.Column("finished", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("claims", sa.Text(), nullable=False),
        sa.Column("provenance", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_records"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_records_run_id"),
        sa.UniqueConstraint("id", name="uq_records_id"),
        sa.UniqueConstraint("run_id", "cell_key", name="uq_records_run_id"),
    )
    op.create_index("ix_records_cell_key", "records", ["cell_key", "machine_key"])
    op.create_index("ix_records_input_hash", "records", ["input_hash"])
    op.create_index("ix_records_machine_key", "records", ["machine_key"])
    op.create_table(
        "run_cells",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("cell_key", sa.String(), nullable=False),
        sa.Column("input_hash", sa.String(), nullable=False),
        *_axes(),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("record_id", sa.String()),
        sa.PrimaryKeyConstraint("run_id", "cell_key", name="pk_run_cells"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_cells_run_id"),
        sa.ForeignKeyConstraint(["record_id"], ["records.id"], name="fk_run_cells_record_id"),
    )
    op.create_table(
        "measurements",
        sa.Column("record", number, nullable=False, autoincrement=False),
        sa.Column("position", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("clock", sa.Text()),
        sa.Column("derived_from", sa.Text(), nullable=False),
        sa.Column("flags", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("record", "position", name="pk_measurements"),
        sa.ForeignKeyConstraint(["record"], ["records.number"], name="fk_measurements_record"),
    )
    op.create_table(
        "samples",
        sa.Column("record", number, nullable=False, autoincrement=False),
        sa.Column("position", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record", "position", name="pk_samples"),
        sa.ForeignKeyConstraint(
            ["record", "position"], ["measurements.record", "measurements.position"], name="fk_samples_record"
        ),
    )
    op.create_table(
        "launches",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("input_hash", sa.String(), nullable=False),
        sa.Column("launch", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "input_hash", "launch", name="pk_launches"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_launches_run_id"),
    )
    op.create_index("ix_launches_input_hash", "launches", ["input_hash"])


def _axes() -> list[sa.Column[str] | sa.Column[int]]:
    return [
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("model", "method", "backend", "target")),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("threads", "batch")),
        sa.Column("layer", sa.Text()),
    ]
