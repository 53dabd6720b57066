"""Alembic's entry: runs the migrations on the connection it is given, inside the transaction that the connection is already in.

`results.database.prepare` gives both and holds the lock; there is no alembic.ini and no other way in.
"""

from __future__ import annotations

from alembic import context

from results.schema import METADATA, REVISION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=REVISION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
