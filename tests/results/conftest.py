"""Stores to test on (SQLite, and PostgreSQL on a real server that the tests start) and records to put in."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import sqlalchemy as sa

from results.record import Axes, Measurement, PlannedCell, Record, Run, Samples

_POINTS: tuple[tuple[Any, ...], ...] = ((), ("0-3,6", "performance", 2_400_000_000), (None, "schedutil"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a fresh server on a Unix socket; an unprivileged user runs it where the tests are root, for PostgreSQL refuses root."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL server binaries not found")
    folder = Path(tempfile.mkdtemp(prefix="assay-pg-"))
    user = _unprivileged() if os.geteuid() == 0 else None
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    log = (folder / "log").open("wb")
    uid, gid = (None, None) if user is None else (user.pw_uid, user.pw_gid)
    groups: list[int] | None = None if user is None else []
    make = [f"{programs}/initdb", "-D", f"{folder}/data", "-U", "assay", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
    subprocess.run(make, check=True, stdout=log, stderr=log, cwd=folder, timeout=120, user=uid, group=gid, extra_groups=groups)
    serve = [f"{programs}/postgres", "-D", f"{folder}/data", "-k", f"{folder}", "-c", "listen_addresses=", "-c", "fsync=off"]
    server = subprocess.Popen(serve, stdout=log, stderr=log, cwd=folder, user=uid, group=gid, extra_groups=groups)
    url = f"postgresql://assay@/postgres?host={quote(str(folder))}"
    try:
        _await_server(url, server, folder / "log")
        yield url
    finally:
        server.terminate()
        server.wait(30)
        log.close()
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peers)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store of the test's own may be made; on PostgreSQL in a schema of its own."""
    if request.param == "sqlite":
        return str(tmp_path / "made" / "store.db")
    url: str = request.getfixturevalue("postgres")
    schema = f"test_{next(_NUMBERS)}"
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    engine.dispose()
    return f"{url}&options=-csearch_path%3D{schema}"


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """`make_record(number, **fields)`: records of one run that differ in all that must differ."""

    def make(number: int, run_id: str = "run-1", **fields: object) -> Record:
        rng = np.random.default_rng(number)
        n = 200
        timed = Samples(
            rng.lognormal(-7, 0.1, n),
            np.repeat(np.arange(5), n // 5).astype(np.uint16),
            np.arange(n) % 40 > 3,
            np.full(n, 16, np.uint32),
            np.tile(np.arange(n // 5) * 1e-3, 5),
        )
        measurements = (
            Measurement("latency", "s", "measured", "the runner's clock", timed, clock="CLOCK_MONOTONIC", flags=("throttled",)),
            Measurement("top1", "1", "measured", "answers to the test split", Samples.of(rng.integers(0, 2, 50))),
            Measurement("energy", "J", "measured", "RAPL", None, "no meter: name one in the inventory"),
            Measurement("throughput", "1/s", "measured", "derived", Samples.of(1e3), derived_from=("latency",)),
        )
        values: dict[str, object] = {
            "id": f"{number:04x}-record-of-{run_id}",
            "run_id": run_id,
            "cell_key": f"{number:04x}cell",
            "input_hash": f"{number:04x}input",
            "machine_key": "machine",
            "axes": Axes(
                f"model{number}", "float32", "onnxruntime", "local", 2, 4, None if number % 2 else "conv1", *_POINTS[number % 3]
            ),
            "status": "ok",
            "reason": None,
            "error_class": None,
            "started": "2026-01-01T00:00:00Z",
            "finished": "2026-01-01T00:01:00Z",
            "claims": {"macs": 12, "weight_bits": 7.5},
            "measurements": measurements,
            "provenance": {"device": {"cpu_model": "é", "ratio": 0.1 + 0.2}, "logs": ["a\x00b", "\u2028"]},
        }
        return Record(**(values | fields))  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_run() -> Callable[..., tuple[Run, list[PlannedCell]]]:
    """`make_run(records, id)`: a run that has planned just these records' cells."""

    def make(
        records: list[Record], id_: str = "run-1", suite: str = "smoke", started: str = "2026-01-01T00:00:00Z"
    ) -> tuple[Run, list[PlannedCell]]:
        run = Run(id_, suite, {"about": "ü", "axes": [1, None]}, 2**70, started, environment={"python": "3.11"})
        return run, [PlannedCell(r.cell_key, r.input_hash, r.axes, position) for position, r in enumerate(records)]

    return make


_NUMBERS = itertools.count()


def _programs() -> Path | None:
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(found) if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def _unprivileged() -> pwd.struct_passwd:
    users = {user.pw_name: user for user in pwd.getpwall()}
    return users.get("postgres") or users["nobody"]


def _await_server(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    deadline = time.monotonic() + 60
    while True:
        try:
            with engine.connect():
                break
        except sa.exc.OperationalError:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
    engine.dispose()
