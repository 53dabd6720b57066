"""What happens to devices while they are measured, each at a random moment: the run ends, every cell has its record, nothing wrong is ok."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from results.quarantine import FAULTS
from results.record import Record
from results.store import StoreError, open_store

if TYPE_CHECKING:
    Ordeal = Any
    Sound = Callable[[Ordeal, Sequence[Record]], None]

pytestmark = [pytest.mark.torch, pytest.mark.peers]

RUN_S = 3.0
"""About as long as the undisturbed run takes."""


def statuses(records: Sequence[Record]) -> set[str]:
    return {record.status for record in records}


def moment(seed: int) -> float:
    return random.Random(seed).uniform(0, RUN_S)


def test_undisturbed(ordeal: Ordeal, sound: Sound) -> None:
    records = ordeal.run()
    sound(ordeal, records)
    assert statuses(records) == {"ok"} and {record.attempt for record in records} == {1}
    for record in records:
        device = record.provenance["device"]
        assert record.provenance["voided"] == [] and device["lease"]["token"] and device["control"]["tier"] == "pinned"


@pytest.mark.parametrize("fault", ["cut_sessions", "reboot"])
def test_what_passes_is_tried_again_until_all_is_measured(ordeal: Ordeal, sound: Sound, fault: str, seed: int) -> None:
    records = ordeal.run(getattr(ordeal.machine, fault), moment(seed))
    sound(ordeal, records)
    assert statuses(records) == {"ok"}
    assert all(len(record.provenance["voided"]) == record.attempt - 1 for record in records)


def test_a_cable_pulled_for_a_moment(ordeal: Ordeal, sound: Sound, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.visit.BACKOFF_S", 1.5)  # so that the last attempt comes after the moment
    rng = random.Random(seed)

    def pull() -> None:
        ordeal.machine.cut()
        time.sleep(rng.uniform(0.1, 3))
        ordeal.machine.mend()

    records = ordeal.run(pull, rng.uniform(0, RUN_S))
    sound(ordeal, records)
    assert statuses(records) == {"ok"}


@pytest.mark.parametrize("fault", [pytest.param("cut", marks=pytest.mark.nightly), "crash"])
def test_a_device_that_is_gone_leaves_records_and_is_measured_when_it_is_back(
    ordeal: Ordeal, sound: Sound, fault: str, seed: int
) -> None:
    records = ordeal.run(getattr(ordeal.machine, fault), moment(seed))
    assert statuses(records) <= {"ok", "unreachable"}
    assert all(record.attempt == 3 for record in records if record.status == "unreachable"), "within the budget, and no more"
    ordeal.machine.mend()
    if fault == "crash":
        ordeal.machine.boot()
    records = ordeal.run()
    sound(ordeal, records)
    assert statuses(records) == {"ok"}


def test_a_process_that_does_not_want_to_end(ordeal: Ordeal, sound: Sound, seed: int) -> None:
    records = ordeal.run(lambda: ordeal.ask("stubborn"), moment(seed))
    sound(ordeal, records)
    assert statuses(records) <= {"ok", "failed"}
    assert all("stopped after 2 s" in (record.reason or "") for record in records if record.status == "failed")


@pytest.mark.parametrize("fault", ["garbage", "oversized", "replayed"])
def test_what_a_runner_says_wrongly_is_not_believed(ordeal: Ordeal, sound: Sound, fault: str, seed: int) -> None:
    records = ordeal.run(lambda: ordeal.ask(fault), moment(seed))
    sound(ordeal, records)
    assert statuses(records) <= {"ok", "failed"}
    told = {"garbage": "not an answer to this request", "oversized": "more than it may say", "replayed": "replayed"}[fault]
    assert all(told in (record.reason or "") for record in records if record.status == "failed")


def test_a_disk_that_fills_up(ordeal: Ordeal, sound: Sound, seed: int) -> None:
    records = ordeal.run(ordeal.machine.fill_disk, moment(seed))
    sound(ordeal, records)
    assert statuses(records) <= {"ok", "failed", "invalid"}
    assert all(any(told in (r.reason or "") for told in ("ENOSPC", "No space left")) for r in records if r.status != "ok")


@pytest.mark.parametrize("damage", ["head -c 1000", "tr '\\\\000-\\\\377' '\\\\001-\\\\377\\\\000'"])
def test_a_push_that_arrives_damaged(ordeal: Ordeal, sound: Sound, damage: str, seed: int) -> None:
    """`cat` takes a pushed file in; from a moment on it loses or changes what it is given."""
    folder = ordeal.machine.folder
    program = folder / "tools" / "cat"
    program.write_text(
        f'#!/bin/sh\n[ $# -gt 0 ] || [ ! -e {folder}/damaged ] || exec {damage}\nexec /bin/cat "$@"\n'.replace("\\\\", "\\")
    )
    program.chmod(0o755)
    records = ordeal.run((folder / "damaged").touch, moment(seed))
    sound(ordeal, records)
    assert statuses(records) <= {"ok", "failed", "invalid"}
    assert all(record.status == "ok" or "what was written is not what was sent" in (record.reason or "") for record in records)


def test_a_host_key_that_changed_is_no_passing_matter(ordeal: Ordeal, seed: int) -> None:
    records = ordeal.run(ordeal.machine.change_host_key, moment(seed))
    assert statuses(records) <= {"ok", "failed"}
    assert all("host key" in (record.reason or "").lower() for record in records if record.status == "failed")
    assert not ordeal.machine.left_running()


def test_a_device_that_fails_again_and_again_is_left_alone_until_released(ordeal: Ordeal, sound: Sound) -> None:
    ordeal.machine.crash()
    for _ in range(FAULTS):
        assert statuses(ordeal.run()) == {"unreachable"}
    ordeal.machine.boot()
    records = ordeal.run()
    assert statuses(records) == {"unreachable"} and all("quarantine" in (record.reason or "") for record in records)
    assert all(record.error_class == "Quarantine" and not ordeal.machine.left_running() for record in records)
    with open_store(str(ordeal.store_path)) as store:
        store.release("device", "plugged in again", "t")
    records = ordeal.run()
    sound(ordeal, records)
    assert statuses(records) == {"ok"}


def test_a_host_disk_that_fills_up_ends_the_run_and_what_was_durable_is_used_by_the_next(
    ordeal: Ordeal, sound: Sound, host_disk: Any, seed: int
) -> None:
    """The disk of the store: nothing hangs, no thread is left, and no launch is made twice."""
    ordeal.store_path = host_disk.folder / "store.db"
    before = threading.active_count()
    try:
        ordeal.run(host_disk.fill, moment(seed))
    except StoreError as error:
        assert "full" in str(error) and "Free some space" in str(error)
    assert threading.active_count() <= before
    host_disk.free()
    with open_store(str(ordeal.store_path)) as store:
        cells = [cell.input_hash for cell in ordeal.cells()[1]]
        kept = {(c, i): said for run in store.runs() for c in cells for i, said in store.launches(run.id, c).items()}
    records = ordeal.run()
    sound(ordeal, records)
    assert statuses(records) == {"ok"}
    for record in records:
        for index, launch in enumerate(record.provenance["runtime"]["launches"]):
            if said := kept.get((record.input_hash, index)):
                assert said["launch"]["reply"]["nonce"] == launch["nonce"]


def test_a_cache_whose_disk_is_full_leaves_records_that_the_next_run_mends(
    ordeal: Ordeal, sound: Sound, host_disk: Any, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """All is there but what is built last."""
    cache = host_disk.folder / "cache"
    shutil.copytree(ordeal.workshop / "cache", cache)
    shutil.rmtree(cache / "steps" / "build")
    monkeypatch.setenv("ASSAY_CACHE", str(cache))
    timer = threading.Timer(moment(seed), host_disk.fill)
    timer.start()
    if seed == 0:
        timer.join()
    records = ordeal.run()
    timer.join()
    assert statuses(records) <= {"ok", "invalid"} and (seed or statuses(records) == {"invalid"})
    for record in records:
        if record.status == "invalid":
            assert record.error_class == "DiskFull" and f"the disk of {cache} is full" in (record.reason or "")
    host_disk.free()
    records = ordeal.run()
    sound(ordeal, records)
    assert statuses(records) == {"ok"}
