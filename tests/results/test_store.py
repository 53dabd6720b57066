"""The store on SQLite and on a real PostgreSQL: what goes in comes out, nothing is doubled, nothing is lost."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

import results
from results import store as store_module
from results.record import PlannedCell, Record, Run, Samples
from results.schema import LAUNCHES, MEASUREMENTS, RECORDS, SAMPLES
from results.store import Store, StoreError, exists, open_store

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., tuple[Run, list[PlannedCell]]]


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with open_store(store_url) as opened:
        yield opened


def count(store: Store, table: sa.Table) -> int:
    with store._engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def change(store: Store, statement: sa.Update | sa.Delete) -> None:
    with store._engine.begin() as connection:
        assert connection.execute(statement).rowcount > 0


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process of ours."""
    environment = os.environ | {"PYTHONPATH": str(Path(results.__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_is_appended_is_read_back(store: Store, make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [
        make_record(0),
        make_record(1, status="failed", reason="it said \x00 and \ud800", error_class="BuildError", measurements=()),
        make_record(2, attempt=3, claims={}),
    ]
    run, cells = make_run(records)
    store.begin_run(run, cells)
    for record in records:
        store.append(record)
    assert list(store.records()) == records
    assert [found.record for found in store.run_records("run-1")] == records
    assert [found.cell.record_id for found in store.run_records("run-1")] == [record.id for record in records]
    assert store.runs() == [run] and store.run("run-1") == run
    assert all(store.verify(record.id) for record in records)
    assert [record.sha256() for record in store.records()] == [record.sha256() for record in records]


def test_samples_come_back_bit_by_bit(store: Store, make_record: MakeRecord, make_run: MakeRun) -> None:
    odd = Samples(
        np.array([np.nan, -0.0, np.inf, 5e-324, 0.1]),
        np.array([0, 65535, 1, 2, 3], np.uint16),
        np.array([True, False, True, True, False]),
        np.array([0, 2**32 - 1, 1, 2, 3], np.uint32),
        np.array([np.nan, 1.0, -np.inf, 0.0, 2.0]),
    )
    base = make_record(0)
    record = dataclasses.replace(base, measurements=(dataclasses.replace(base.measurements[0], samples=odd),))
    store.begin_run(*make_run([record]))
    store.append(record)
    (found,) = store.records()
    assert found.measurements[0].samples is not None
    for name in ("value", "launch", "timed", "loops", "start_s"):
        assert getattr(found.measurements[0].samples, name).tobytes() == getattr(odd, name).tobytes()


def test_a_cell_without_a_record_yet_stands_in_its_run(store: Store, make_record: MakeRecord, make_run: MakeRun) -> None:
    first, second = make_record(0), make_record(1)
    run, cells = make_run([first, second])
    store.begin_run(run, cells[::-1])
    store.append(second)
    assert [(found.cell.position, found.record) for found in store.run_records("run-1")] == [(0, None), (1, second)]
    assert store.run_records("run-9") == []


def test_earlier_records_answer_a_later_run(store: Store, make_record: MakeRecord, make_run: MakeRun) -> None:
    record = make_record(0)
    store.begin_run(*make_run([record]))
    store.append(record)
    run, (cell,) = make_run([record], "run-2", started="2026-01-02T00:00:00Z")
    store.begin_run(run, [dataclasses.replace(cell, record_id=record.id)])
    assert [found.record for found in store.run_records("run-2")] == [record]
    again = make_record(0, "run-2")
    with pytest.raises(StoreError, match="reuses an earlier record"):
        store.append(again)
    assert list(store.records()) == [record]


def test_nothing_is_doubled(store: Store, make_record: MakeRecord, make_run: MakeRun) -> None:
    record, other = make_record(0), make_record(1)
    store.begin_run(*make_run([record]))
    store.append(record)
    for refused, says in (
        (record, "is there already"),
        (dataclasses.replace(record, id="new"), "is there already"),
        (dataclasses.replace(other, run_id="run-9"), "its run run-9 is not"),
        (other, "has not planned this cell"),
    ):
        with pytest.raises(StoreError, match=says):
            store.append(refused)
    assert list(store.records()) == [record]
    assert (count(store, MEASUREMENTS), count(store, SAMPLES)) == (4, 3)


def test_a_run_is_kept_whole_or_not_at_all(store: Store, make_record: MakeRecord, make_run: MakeRun) -> None:
    run, (cell,) = make_run([make_record(0)])
    for cells in ([cell, cell], [dataclasses.replace(cell, record_id="not there")]):
        with pytest.raises(StoreError, match="run run-1 is refused"):
            store.begin_run(run, cells)
        assert store.runs() == []
    store.begin_run(run, [])
    with pytest.raises(StoreError, match="run run-1 is refused"):
        store.begin_run(run, [cell])
    assert store.run_records("run-1") == []


def test_too_many_samples_are_refused_by_name(
    store: Store, make_record: MakeRecord, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = make_record(0)
    store.begin_run(*make_run([record]))
    monkeypatch.setattr("results.packing.MAX_LENGTH", 199)
    with pytest.raises(StoreError, match=r"record 0000-record.*model0, float32.*200 samples in one measurement; .* 199"):
        store.append(record)
    assert list(store.records()) == []


def test_a_finished_run_says_when(store: Store, make_run: MakeRun) -> None:
    run, _ = make_run([])
    store.begin_run(run, [])
    assert store.run("run-1").finished is None
    store.finish_run("run-1", "2026-01-01T01:00:00Z")
    assert store.run("run-1") == dataclasses.replace(run, finished="2026-01-01T01:00:00Z")
    with pytest.raises(StoreError, match="run run-2 is not in"):
        store.finish_run("run-2", "2026-01-01T01:00:00Z")


def test_launches_last_until_their_record(store: Store, make_record: MakeRecord, make_run: MakeRun) -> None:
    record, other = make_record(0), make_record(1)
    store.begin_run(*make_run([record, other]))
    for index in (2, 0):
        store.journal_launch("run-1", record.input_hash, index, {"value": [0.1, index]})
    store.journal_launch("run-1", record.input_hash, 0, {"value": "taken again"})
    store.journal_launch("run-1", other.input_hash, 0, {})
    assert store.launches("run-1", record.input_hash) == {0: {"value": "taken again"}, 2: {"value": [0.1, 2]}}
    store.append(record)
    assert store.launches("run-1", record.input_hash) == {}
    assert store.launches("run-1", other.input_hash) == {0: {}}
    with pytest.raises(StoreError, match="its run run-9 is not in the store"):
        store.journal_launch("run-9", record.input_hash, 0, {})


def test_a_new_run_adopts_what_the_newest_killed_one_left(store: Store, make_record: MakeRecord, make_run: MakeRun) -> None:
    record = make_record(0)
    key = record.input_hash
    for day, id_ in enumerate(("oldest", "killed", "now"), 1):
        store.begin_run(*make_run([dataclasses.replace(record, run_id=id_)], id_, started=f"2026-01-0{day}T00:00:00Z"))
    store.journal_launch("oldest", key, 7, {"of": "oldest"})
    for index in range(2):
        store.journal_launch("killed", key, index, {"of": "killed", "index": index})
    store.journal_launch("killed", "another cell", 0, {})
    adopted = {0: {"of": "killed", "index": 0}, 1: {"of": "killed", "index": 1}}
    assert store.adopt_launches("now", key) == adopted
    assert store.launches("now", key) == adopted and store.launches("killed", key) == store.launches("oldest", key) == {}
    assert store.launches("killed", "another cell") == {0: {}}
    store.journal_launch("now", key, 2, {})
    assert sorted(store.adopt_launches("now", key)) == [0, 1, 2]  # its own stay
    assert store.adopt_launches("now", "never run") == {}
    store.append(dataclasses.replace(record, run_id="now"))
    assert count(store, LAUNCHES) == 1


def test_own_launches_are_not_mixed_with_others(store: Store, make_run: MakeRun) -> None:
    for id_ in ("killed", "now"):
        store.begin_run(*make_run([], id_))
        store.journal_launch(id_, "input", 0, {"of": id_})
    store.journal_launch("killed", "input", 1, {"of": "killed"})
    assert store.adopt_launches("now", "input") == {0: {"of": "now"}}
    assert store.launches("killed", "input") == {}
    with pytest.raises(StoreError, match="run gone is not in the store"):
        store.adopt_launches("gone", "input")


def test_finished_cells_gives_the_newest_record_of_each_input(store: Store, make_record: MakeRecord, make_run: MakeRun) -> None:
    old, new = make_record(0, status="ok"), make_record(0, "run-2", status="failed", reason="no", finished="2020-01-01T00:00:00Z")
    other = make_record(1)
    store.begin_run(*make_run([old, other]))
    store.begin_run(*make_run([new], "run-2"))
    for record in (old, other, new):
        store.append(record)
    asked = [old.input_hash, other.input_hash, *(f"unknown {i}" for i in range(1200))]
    assert store.finished_cells(asked) == {old.input_hash: (new.id, "failed"), other.input_hash: (other.id, "ok")}
    assert store.finished_cells([]) == {}


def test_history_is_one_cell_on_one_machine_oldest_first(store: Store, make_record: MakeRecord, make_run: MakeRun) -> None:
    series = [make_record(0, f"run-{i}", machine_key="kernel 7" if i == 2 else "kernel 6") for i in range(4)]
    for i, record in enumerate(series):
        store.begin_run(*make_run([record], f"run-{i}"))
        store.append(record)
    assert store.history(series[0].cell_key, "kernel 6") == [series[0], series[1], series[3]]
    assert store.history(series[0].cell_key, "kernel 8") == []


def test_the_past_of_a_run_is_its_cells_on_all_machines_up_to_its_own_records(
    store: Store, make_record: MakeRecord, make_run: MakeRun
) -> None:
    machines = ("kernel 6", "kernel 7", "kernel 7", "kernel 7")
    nights = [[make_record(i, f"run-{night}", machine_key=machines[night]) for i in (0, 1)] for night in range(4)]
    nights[1][1] = make_record(1, "run-1", machine_key="kernel 7", status="failed", reason="why", measurements=())
    nights[2].append(make_record(2, "run-2"))
    for night, records in enumerate(nights):
        store.begin_run(*make_run(records, f"run-{night}"))
        for record in records:
            store.append(record)
    found = list(store.past("run-1", "latency"))
    assert [past.record_id for past in found] == [record.id for records in nights[:2] for record in records]
    assert [past.machine_key for past in found] == ["kernel 6", "kernel 6", "kernel 7", "kernel 7"]
    latency = nights[0][0].measurement("latency")
    assert latency is not None and found[0].samples == latency.samples
    assert found[0][:8] == (
        nights[0][0].id,
        nights[0][0].cell_key,
        "kernel 6",
        nights[0][0].input_hash,
        nights[0][0].started,
        "ok",
        "s",
        "measured",
    )
    assert found[3][5:] == ("failed", None, None, None)
    assert [past.unit for past in store.past("run-0", "energy")] == ["J", "J"]
    assert [past.samples for past in store.past("run-0", "energy")] == [None, None]
    assert len(list(store.past("run-3", "latency"))) == 8, "a cell that this run has not is not in its past"
    assert list(store.past("unknown", "latency")) == []


def test_a_past_that_was_altered_is_told(store: Store, make_record: MakeRecord, make_run: MakeRun) -> None:
    store.begin_run(*make_run([make_record(0)]))
    store.append(make_record(0))
    change(store, sa.update(SAMPLES).values(packed=b"not deflated"))
    with pytest.raises(StoreError, match="was altered and cannot be read"):
        list(store.past("run-1", "latency"))


def test_records_of_a_suite_are_read_in_pages(
    store: Store, make_record: MakeRecord, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_PAGE", 2)
    mine, others = [make_record(i) for i in range(5)], [make_record(i, "run-2") for i in range(3)]
    store.begin_run(*make_run(mine))
    store.begin_run(*make_run(others, "run-2", suite="nightly"))
    for record in (*mine[:3], *others, *mine[3:]):
        store.append(record)
    assert list(store.records("smoke")) == mine
    assert list(store.records("nightly")) == others
    assert len(list(store.records())) == 8
    assert list(store.records("unknown")) == []


def test_records_are_found_by_the_beginning_of_id_or_cell_key(store: Store, make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [
        make_record(0, id="aaaa1", cell_key="cccc1"),
        make_record(1, id="aaaa2", cell_key="cccc2"),
        make_record(2, id="bbbb", cell_key="aaaa3"),
        make_record(3, id="aa", cell_key="d%d_d"),
    ]
    newer = make_record(0, "run-2", id="eeee", cell_key="cccc1")
    store.begin_run(*make_run(records))
    store.begin_run(*make_run([newer], "run-2"))
    for record in (*records, newer):
        store.append(record)
    assert store.record("aaaa1") == records[0]
    assert store.record("b") == records[2]
    assert store.record("aa") == records[3]  # exact, though others begin so
    assert store.record("cccc1") == store.record("cccc1"[:5]) == newer  # the cell's newest
    assert store.record("d%") == records[3]
    for name, says in (
        (
            "aaaa",
            r"`aaaa` may be more than one record or cell: record aaaa1 \(model0, .*record aaaa2 .*cell aaaa3 \(model2.*Give more",
        ),
        ("aaab", r"no record or cell `aaab` in the store .* Did you mean `aaaa"),
        ("B", "no record or cell `B`"),
        ("%", "no record or cell `%`"),
        ("", "no record or cell ``"),
    ):
        with pytest.raises(StoreError, match=says):
            store.record(name)


def test_runs_are_listed_newest_first_and_found_by_their_beginning(store: Store, make_run: MakeRun) -> None:
    for day, id_ in enumerate(("aa1", "aa2", "b"), 1):
        store.begin_run(*make_run([], id_, started=f"2026-01-0{day}T00:00:00Z"))
    assert [run.id for run in store.runs()] == ["b", "aa2", "aa1"]
    assert store.run("aa2").id == "aa2" and store.run("b").id == "b"
    with pytest.raises(StoreError, match=r"`aa` may be more than one run: aa2 \(smoke, 2026-01-02.*aa1"):
        store.run("aa")
    with pytest.raises(StoreError, match=r"no run `aa9` .* Did you mean `aa"):
        store.run("aa9")


def test_alterations_do_not_pass_verify(store: Store, make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(i) for i in range(6)]
    store.begin_run(*make_run(records))
    for record in records:
        store.append(record)
    with store._engine.connect() as connection:
        numbers = {row.id: row.number for row in connection.execute(sa.select(RECORDS.c.id, RECORDS.c.number))}
        blob = connection.execute(sa.select(SAMPLES.c.packed).limit(1)).scalar_one()
    by = [numbers[record.id] for record in records]
    change(store, sa.update(RECORDS).where(RECORDS.c.number == by[0]).values(machine_key="another"))
    change(store, sa.update(MEASUREMENTS).where(MEASUREMENTS.c.record == by[1], MEASUREMENTS.c.position == 0).values(unit="ms"))
    change(store, sa.delete(MEASUREMENTS).where(MEASUREMENTS.c.record == by[2], MEASUREMENTS.c.position == 2))
    of_three = SAMPLES.c.record == by[3], SAMPLES.c.position == 0
    change(store, sa.update(SAMPLES).where(*of_three).values(packed=blob[:-9] + b"123456789"))
    change(store, sa.update(RECORDS).where(RECORDS.c.number == by[4]).values(provenance={"device": "another"}))
    assert [store.verify(record.id) for record in records] == [False] * 5 + [True]
    with pytest.raises(StoreError, match="was altered and cannot be read"):
        store.record(records[3].id)
    with pytest.raises(StoreError, match="no record `0099"):
        store.verify("0099")


def appender(url: str, template: Record, first: int, last: int) -> subprocess.Popen[str]:
    """A process that appends records first..last-1 of run-1, and prints each one's id once it is kept."""
    code = """
        import json, sys
        from results.record import record_from_json
        from results.store import open_store
        url, first, last, document = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
        with open_store(url) as store:
            for i in range(first, last):
                store.journal_launch("run-1", f"input {i}", 0, {})
                store.append(record_from_json(document | {"id": f"id {i}", "cell_key": f"cell {i}", "input_hash": f"input {i}"}))
                print(f"id {i}", flush=True)
    """
    small = dataclasses.replace(template, measurements=template.measurements[1:])
    return python(code, url, str(first), str(last), json.dumps(small.to_json()))


def plan_cells(template: Record, n: int) -> list[PlannedCell]:
    return [PlannedCell(f"cell {i}", f"input {i}", template.axes, i) for i in range(n)]


def test_two_processes_append_at_once_and_lose_nothing(
    store: Store, store_url: str, make_record: MakeRecord, make_run: MakeRun
) -> None:
    template = make_record(0)
    store.begin_run(make_run([])[0], plan_cells(template, 120))
    processes = [appender(store_url, template, first, first + 60) for first in (0, 60)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    found = store.run_records("run-1")
    assert [cell.record.id for cell in found if cell.record is not None] == [f"id {i}" for i in range(120)]
    assert all(store.verify(f"id {i}") for i in range(120))
    assert count(store, LAUNCHES) == 0


def test_what_was_kept_outlives_kill_9(store: Store, store_url: str, make_record: MakeRecord, make_run: MakeRun) -> None:
    template = make_record(0)
    store.begin_run(make_run([])[0], plan_cells(template, 5000))
    process = appender(store_url, template, 0, 5000)
    assert process.stdout is not None
    said = [process.stdout.readline().strip() for _ in range(25)]
    process.send_signal(signal.SIGKILL)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    said += rest.split("\n")[:-1]
    store.close()
    with open_store(store_url) as again:
        kept = [record.id for record in again.records()]
        assert kept[: len(said)] == said and len(kept) <= len(said) + 1
        assert len(kept) < 5000 and all(again.verify(id_) for id_ in kept)
        assert [cell.record.id for cell in again.run_records("run-1") if cell.record is not None] == kept
        assert count(again, MEASUREMENTS) == 3 * len(kept)


def test_processes_that_open_a_new_store_at_once_make_one(store_url: str) -> None:
    code = "import sys; from results.store import open_store\nwith open_store(sys.argv[1]) as s: print(len(s.runs()))"
    processes = [python(code, store_url) for _ in range(4)]
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert (process.returncode, output) == (0, "0\n"), errors


def test_a_store_exists_once_it_was_opened(store_url: str) -> None:
    assert not exists(store_url)
    with pytest.raises(StoreError, match=r"there is no store at .* start one with `assay run SUITE`"):
        open_store(store_url, must_exist=True)
    assert not exists(store_url)
    open_store(store_url).close()
    assert exists(store_url)
    open_store(store_url, must_exist=True).close()
