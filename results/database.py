"""Opening a database: its URL, its engine, its migrations, and what to tell when it refuses. The same for SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from results.schema import HEAD, METADATA, REVISION_TABLE

SCRIPTS = Path(__file__).parent / "migrations"
BUSY_S = 30.0
"""How long one process waits for another that is writing."""
_MIGRATION_LOCK = 0x415353_4159
"""PostgreSQL's advisory lock that one migrating process holds: 'ASSAY'."""

_REVISION = sa.table(REVISION_TABLE, sa.column("version_num", sa.String))
_ADVICE = {
    "is full": "Free some space there, or choose another --store.",
    "no space left": "Free some space there, or choose another --store.",
    "i/o error": "The disk may be full or failing: look at it, or choose another --store.",
    "readonly": "Make the file and its folder writable, or choose another --store.",
    "read-only": "Make it writable, or choose another --store.",
    "permission denied": "Have the database's owner grant what is missing, or choose another --store.",
    "unable to open": "Make sure that the folder may be written, or choose another --store.",
    "not a database": "It is a file of something else: choose another --store.",
    "malformed": "The file is damaged: restore a copy, or choose another --store.",
    "locked": f"Another process has been writing to it for more than {BUSY_S:.0f} s: let it end, then run again.",
    "connection": "Make sure that the server runs and that the URL is right, or choose another --store.",
}


class StoreError(Exception):
    """The store refuses, or cannot be had. The message says what happened, where, and what to do."""


class Place(NamedTuple):
    """Where a store is."""

    url: URL
    name: str
    """As messages show it: a path, or a URL without its password."""
    path: Path | None
    """The file, for SQLite."""


def parse_place(url: str) -> Place:
    """A path, `sqlite:///path` or `postgresql://...` (driven by psycopg)."""
    if "://" not in url:
        return _file(Path(url).expanduser())
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError) as error:  # its text may hold the password: the message does not repeat the URL
        raise StoreError(
            "the store's URL cannot be read: give a path, sqlite:///PATH or postgresql://USER@HOST/DATABASE"
        ) from error
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if parsed.query or parsed.database in (None, "", ":memory:"):
            raise StoreError(f"{url} is no place for a store: give the path of a file, sqlite:///PATH")
        return _file(Path(str(parsed.database)))
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return Place(parsed.set(drivername="postgresql+psycopg"), parsed.render_as_string(hide_password=True), None)
    raise StoreError(
        f"a store cannot be in `{parsed.drivername}`: give a path, sqlite:///PATH or postgresql://USER@HOST/DATABASE"
    )


def connect(place: Place) -> Engine:
    if place.path is None:
        try:
            return sa.create_engine(place.url, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise StoreError(
                f"{place.name} needs psycopg, which is not installed: pip install 'assay[postgresql]', or choose another --store"
            ) from error
    engine = sa.create_engine(place.url, connect_args={"timeout": BUSY_S})
    sa.event.listen(engine, "connect", _set_up_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def writer(engine: Engine) -> Engine:
    """For SQLite: takes the write lock when a transaction begins, and waits for it there; in its middle it could only fail."""
    return engine.execution_options(begin="BEGIN IMMEDIATE")


def prepare(engine: Engine, place: Place, scripts: Path = SCRIPTS, head: str = HEAD) -> None:
    """Bring the database to revision `head`, and show by a write that is rolled back that it may be written.

    One process migrates at a time and the others wait: under SQLite's write lock or PostgreSQL's advisory lock, in one transaction,
    so that a kill in the middle leaves the store as it was. `scripts` is the folder of the migrations.
    """
    with reporting(place, "open"):
        if place.path is not None:
            _use_wal(engine, place)
        with writer(engine).begin() as connection:
            if place.path is None:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            if revision(connection) != head:
                _migrate(connection, place, scripts)
        with writer(engine).connect() as connection, connection.begin() as probe:
            connection.execute(sa.update(_REVISION).values(version_num=_REVISION.c.version_num))
            probe.rollback()


def revision(connection: Connection) -> str | None:
    """The store's revision; None where there is no store yet."""
    if not sa.inspect(connection).has_table(REVISION_TABLE):
        return None
    found: str | None = connection.execute(sa.select(_REVISION.c.version_num)).scalar()
    return found


@contextmanager
def reporting(place: Place, verb: str) -> Iterator[None]:
    """Turns what a database says into what happened, where, and what to do."""
    try:
        yield
    except DBAPIError as error:
        said = " ".join(str(error.orig).split())
        advice = next(
            (text for sign, text in _ADVICE.items() if sign in said.lower()), "Look at the database, or choose another --store."
        )
        raise StoreError(f"cannot {verb} the store {place.name}: {said}. {advice}") from error


def _file(path: Path) -> Place:
    return Place(URL.create("sqlite", database=str(path)), str(path), path)


def _set_up_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    # Autocommit as far as Python's module is concerned: it would begin transactions late, and not at all for CREATE TABLE.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    # With the write-ahead log, NORMAL hands every commit to the operating system before it returns: kill -9 of Assay loses nothing.
    # A power cut may lose the last commits, never the file; those cells are measured again. FULL would fsync at each of them.
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    if begin := connection.get_execution_options().get("begin", "BEGIN"):
        connection.exec_driver_sql(begin)


def _use_wal(engine: Engine, place: Place) -> None:
    """Readers do not wait for the writer. The mode stays with the file; SQLite does not wait by itself where two processes switch it."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            with engine.execution_options(begin="").connect() as connection:
                mode = connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar()
            break
        except OperationalError as error:
            if "locked" not in str(error.orig) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise StoreError(f"the file system of {place.name} cannot hold a store that two processes share: choose another --store")


def _migrate(connection: Connection, place: Place, scripts: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    found = revision(connection)
    if found is None:
        _check_is_free(connection, place)
    elif found not in {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}:
        raise StoreError(
            f"the store {place.name} was made by a newer Assay (revision {found}; this one knows up to {HEAD}): "
            "upgrade Assay, or choose another --store"
        )
    command.upgrade(config, "head")


def _check_is_free(connection: Connection, place: Place) -> None:
    """A SQLite file with other tables is another program's; a PostgreSQL database may be shared, but not the names of the tables."""
    tables = set(sa.inspect(connection).get_table_names())
    taken = tables if place.path is not None else tables & set(METADATA.tables)
    if taken:
        raise StoreError(
            f"{place.name} is a database of something else (it has a table `{min(taken)}`) and is left as it is: choose another --store"
        )
