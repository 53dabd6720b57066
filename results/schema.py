"""The store's tables. A record is spread over rows that can be searched; its raw samples stand apart, packed."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

from results.record import plain

HEAD = "0004"
"""The migration that leaves a database with these tables (a test holds it to the newest one in `migrations/versions/`)."""

REVISION_TABLE = "assay_revision"
"""Where Alembic keeps the revision: a name of our own, so that another program's database is never taken for a store."""

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


class JsonText(TypeDecorator[Any]):
    """A JSON value as ASCII text; SQL NULL is None.

    Text and not the databases' JSON types, for those refuse what a record may hold (NaN; NUL and lone surrogates in what a device printed).
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else json.dumps(value, default=plain)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else json.loads(value)


def _axes() -> tuple[Column[Any], ...]:
    """One column a field of `Axes`."""
    return (
        *(Column(name, Text, nullable=False) for name in ("model", "method", "backend", "target")),
        *(Column(name, Integer, nullable=False) for name in ("threads", "batch")),
        Column("layer", Text),
        *(Column(name, Text) for name in ("cpus", "governor")),
        Column("frequency_hz", BigInteger),
    )


RUNS = Table(
    "runs",
    METADATA,
    Column("id", String, primary_key=True),
    Column("suite", Text, nullable=False, index=True),
    Column("document", JsonText, nullable=False),
    Column("seed", JsonText, nullable=False),
    Column("started", String, nullable=False),
    Column("finished", String),
    Column("environment", JsonText, nullable=False),
)

RECORDS = Table(
    "records",
    METADATA,
    Column(
        "number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True
    ),  # order of arrival: clocks may step, this does not
    Column("id", String, nullable=False, unique=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("cell_key", String, nullable=False),
    Column("input_hash", String, nullable=False, index=True),
    Column("machine_key", String, nullable=False, index=True),
    *_axes(),
    Column("status", String, nullable=False),
    Column("reason", JsonText),
    Column("error_class", Text),
    Column("started", String, nullable=False),
    Column("finished", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("claims", JsonText, nullable=False),
    Column("provenance", JsonText, nullable=False),
    Column("sha256", String, nullable=False),
    UniqueConstraint("run_id", "cell_key"),
    Index("ix_records_cell_key", "cell_key", "machine_key"),
)

RUN_CELLS = Table(
    "run_cells",
    METADATA,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("cell_key", String, primary_key=True),
    Column("input_hash", String, nullable=False),
    *_axes(),
    Column("position", Integer, nullable=False),
    Column("record_id", ForeignKey("records.id")),
)

MEASUREMENTS = Table(
    "measurements",
    METADATA,
    Column("record", ForeignKey("records.number"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("metric", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("origin", String, nullable=False),
    Column("method", JsonText, nullable=False),
    Column("reason", JsonText),
    Column("clock", Text),
    Column("derived_from", JsonText, nullable=False),
    Column("flags", JsonText, nullable=False),
)

SAMPLES = Table(
    "samples",
    METADATA,
    Column("record", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("length", Integer, nullable=False),
    Column("packed", LargeBinary, nullable=False),
    ForeignKeyConstraint(["record", "position"], ["measurements.record", "measurements.position"]),
)

LAUNCHES = Table(
    "launches",
    METADATA,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("input_hash", String, primary_key=True, index=True),
    Column("launch", Integer, primary_key=True, autoincrement=False),
    Column("document", JsonText, nullable=False),
)
"""Process launches of cells that have no record yet: durable as each ends, gone with the record that holds them."""

LEASES = Table(
    "leases",
    METADATA,
    Column("device", String, primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("holder", JsonText, nullable=False),
)
"""The highest lease seen of each device (`results/fence.py`)."""

DEVICE_EVENTS = Table(
    "device_events",
    METADATA,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("target", String, nullable=False, index=True),
    Column("event", String, nullable=False),
    Column("reason", JsonText),
    Column("happened", String, nullable=False),
)
"""How visits to devices ended, and who is in quarantine (`results/quarantine.py`)."""
