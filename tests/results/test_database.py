"""Opening a store: what is made, what is migrated, what is refused and in which words."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from results import database
from results.database import SCRIPTS, StoreError, connect, parse_place, prepare, revision
from results.record import PlannedCell, Record, Run
from results.schema import HEAD, METADATA, REVISION_TABLE
from results.store import open_store

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., tuple[Run, list[PlannedCell]]]


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write anywhere: become nobody for a while."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that an unprivileged user can reach; pytest's own belong to the one who runs it."""
    folder = Path(tempfile.mkdtemp(prefix="assay-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def set_revision(url: str, found: str) -> None:
    engine = connect(parse_place(url))
    with engine.begin() as connection:
        connection.execute(sa.update(sa.table(REVISION_TABLE, sa.column("version_num"))).values(version_num=found))
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "drivername", "name"),
    [
        ("store.db", "sqlite", "store.db"),
        ("odd name?#%20.db", "sqlite", "odd name?#%20.db"),
        ("sqlite:///relative.db", "sqlite", "relative.db"),
        ("sqlite:////absolute/store.db", "sqlite", "/absolute/store.db"),
        ("postgresql://u:secret@host/db", "postgresql+psycopg", "postgresql://u:***@host/db"),
        ("postgres://host/db", "postgresql+psycopg", "postgres://host/db"),
        ("postgresql+psycopg://host/db", "postgresql+psycopg", "postgresql+psycopg://host/db"),
    ],
)
def test_places(url: str, drivername: str, name: str) -> None:
    place = parse_place(url)
    assert (place.url.drivername, place.name) == (drivername, name)
    assert (place.path is None) == drivername.startswith("postgresql")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "no place for a store"),
        ("sqlite:///:memory:", "no place for a store"),
        ("sqlite:///x.db?mode=ro", "no place for a store"),
        ("mysql://host/db", "cannot be in `mysql`"),
        ("postgresql+asyncpg://host/db", "cannot be in `postgresql.asyncpg`"),
        ("postgresql://host:secret/db", "cannot be read: give a path"),
        ("://", "cannot be read: give a path"),
    ],
)
def test_places_that_are_none(url: str, says: str) -> None:
    with pytest.raises(StoreError, match=says) as caught:
        parse_place(url)
    assert "secret" not in str(caught.value)


def test_home_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_place("~/a/store.db").path == tmp_path / "a" / "store.db"


def test_sqlite_is_set_up_to_outlive_a_kill_and_to_be_shared(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "store.db")) as store, store._engine.connect() as connection:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 1), ("foreign_keys", 1), ("busy_timeout", 30_000)):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def test_migrations_make_the_tables_that_the_code_uses(store_url: str) -> None:
    with open_store(store_url) as store, store._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": REVISION_TABLE, "compare_type": same_type})
        assert compare_metadata(context, METADATA) == []
        assert revision(connection) == HEAD


def same_type(_context: object, _found: object, _column: object, found: Any, ours: Any) -> bool:
    """Whether to report a column: JSON text is plain text to a database."""
    ours = getattr(ours, "impl", ours)
    return not (issubclass(found._type_affinity, ours._type_affinity) or issubclass(ours._type_affinity, found._type_affinity))


def test_head_is_the_newest_migration() -> None:
    scripts = ScriptDirectory(str(SCRIPTS))
    assert scripts.get_heads() == [HEAD]


def test_an_older_store_is_migrated_and_keeps_its_records(
    store_url: str, tmp_path: Path, make_record: MakeRecord, make_run: MakeRun
) -> None:
    """With a migration that only this test has, as a later Assay would bring it."""
    record = make_record(0)
    with open_store(store_url) as store:
        store.begin_run(*make_run([record]))
        store.append(record)
    later = tmp_path / "later 100%"
    shutil.copytree(SCRIPTS, later, ignore=shutil.ignore_patterns("__pycache__"))
    (later / "versions" / "later_note.py").write_text(
        f"import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision = 'later', '{HEAD}'\n"
        "def upgrade():\n    op.add_column('records', sa.Column('note', sa.Text(), nullable=False, server_default='none'))\n"
    )
    place = parse_place(store_url)
    engine = connect(place)
    for _ in range(2):  # the second finds nothing to do
        prepare(engine, place, later, "later")
        with engine.begin() as connection:
            assert revision(connection) == "later"
            assert connection.execute(sa.text("SELECT id, note FROM records")).all() == [(record.id, "none")]
    engine.dispose()
    with pytest.raises(
        StoreError, match=rf"made by a newer Assay \(revision later; this one knows up to {HEAD}\): upgrade Assay, or"
    ):
        open_store(store_url)


def test_a_migration_that_fails_leaves_the_store_as_it_was(store_url: str, tmp_path: Path) -> None:
    open_store(store_url).close()
    broken = tmp_path / "broken"
    shutil.copytree(SCRIPTS, broken, ignore=shutil.ignore_patterns("__pycache__"))
    (broken / "versions" / "later_broken.py").write_text(
        f"import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision = 'later', '{HEAD}'\n"
        "def upgrade():\n    op.add_column('records', sa.Column('note', sa.Text()))\n    op.execute('SELECT * FROM not_there')\n"
    )
    place = parse_place(store_url)
    engine = connect(place)
    with pytest.raises(StoreError, match="not_there"):
        prepare(engine, place, broken, "later")
    with engine.begin() as connection:
        assert revision(connection) == HEAD
        assert "note" not in {column["name"] for column in sa.inspect(connection).get_columns("records")}
    engine.dispose()
    open_store(store_url).close()


def test_a_newer_store_is_refused_and_left_alone(store_url: str) -> None:
    open_store(store_url).close()
    set_revision(store_url, "0042")
    with pytest.raises(StoreError, match=r"was made by a newer Assay \(revision 0042.*upgrade Assay, or choose another --store"):
        open_store(store_url)
    engine = connect(parse_place(store_url))
    with engine.connect() as connection:
        assert revision(connection) == "0042"
    engine.dispose()


def test_another_programs_database_is_left_alone(store_url: str) -> None:
    place = parse_place(store_url)
    if place.path is not None:
        place.path.parent.mkdir()
    engine = connect(place)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE runs (x INTEGER)"))
    with pytest.raises(StoreError, match=r"database of something else \(it has a table `runs`\).*choose another --store"):
        open_store(store_url)
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["runs"]
    engine.dispose()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, not a database\n" * 100)
    with pytest.raises(StoreError, match=r"cannot open the store .*notes.txt: file is not a database.*choose another --store"):
        open_store(str(path))
    assert path.read_text().startswith("these are my notes")


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder: name a file in it"):
        open_store(str(tmp_path))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot make the folder of the store .*Choose another --store"):
        open_store(str(tmp_path / "file" / "store.db"))


def test_a_folder_that_may_not_be_written_is_named(public_folder: Path, tmp_path: Path) -> None:
    open_store(str(tmp_path / "first.db")).close()  # imports what opening needs, while it may be read
    public_folder.chmod(0o555)
    with (
        unprivileged(),
        pytest.raises(StoreError, match=r"unable to open database file. Make sure that the folder may be written"),
    ):
        open_store(str(public_folder / "store.db"))


@pytest.mark.parametrize("was_closed", [True, False])
def test_a_store_that_may_not_be_written_is_named(public_folder: Path, was_closed: bool) -> None:
    path = public_folder / "store.db"
    other = open_store(str(path))
    if was_closed:
        other.close()
    path.chmod(0o444)
    with (
        unprivileged(),
        pytest.raises(StoreError, match=r"cannot open the store .*store.db: .*(readonly|unable to open).*another --store"),
    ):
        open_store(str(path))
    other.close()


def test_a_disk_without_space_is_named_when_the_store_is_opened(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        with pytest.raises(StoreError, match=r"cannot open the store .*The disk may be full"):
            open_store(str(tmp_path / "store.db"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    open_store(str(tmp_path / "store.db")).close()


def test_a_disk_that_fills_up_is_named_and_costs_only_the_last_record(
    tmp_path: Path, make_record: MakeRecord, make_run: MakeRun
) -> None:
    path = tmp_path / "store.db"
    records = [make_record(i) for i in range(100)]
    with open_store(str(path)) as store:
        store.begin_run(*make_run(records))
        sa.event.listen(store._engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 60"))
        store._engine.dispose()
        kept = []
        with pytest.raises(
            StoreError, match=r"cannot write to the store .*is full. Free some space there, or choose another --store"
        ):
            for record in records:
                store.append(record)
                kept.append(record)
        assert 0 < len(kept) < len(records)
        assert list(store.records()) == kept
    with open_store(str(path)) as store:
        store.append(records[len(kept)])
        assert list(store.records()) == records[: len(kept) + 1]


def test_a_busy_store_is_waited_for_and_then_named(tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.1)
    path = tmp_path / "store.db"
    with open_store(str(path)) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"database is locked. Another process has been writing"):
            store.begin_run(*make_run([]))
        other.execute("ROLLBACK")
        other.close()
        store.begin_run(*make_run([]))


def test_a_server_that_does_not_answer_is_named_without_the_password() -> None:
    with pytest.raises(
        StoreError, match=r"cannot open the store postgresql://u:\*\*\*@127.0.0.1:1/db: .*[Cc]onnection.*the URL is right"
    ) as caught:
        open_store("postgresql://u:secret@127.0.0.1:1/db")
    assert "secret" not in str(caught.value)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"needs psycopg, which is not installed: pip install 'assay\[postgresql\]'"):
        open_store("postgresql://host/db")
