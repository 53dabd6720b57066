"""The fence, on SQLite and on PostgreSQL: who has lost a device can keep nothing more of it, and loses nothing of what is kept."""

from __future__ import annotations

import dataclasses
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from results.database import SCRIPTS, connect, parse_place, prepare
from results.fence import StaleLease
from results.record import PlannedCell, Record, Run
from results.store import Store, open_store

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., tuple[Run, list[PlannedCell]]]


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with open_store(store_url) as opened:
        yield opened


def lease(token: int, device: str = "shed/0123456789abcdef", holder: str = "") -> dict[str, object]:
    return {"device": device, "token": token, "holder": holder or f"holder {token}"}


def under(record: Record, token: int, device: str = "shed/0123456789abcdef") -> Record:
    return dataclasses.replace(record, provenance={"device": {"lease": lease(token, device)}})


def test_a_record_under_an_earlier_lease_is_refused_and_names_who_has_the_device(
    store: Store, make_record: MakeRecord, make_run: MakeRun
) -> None:
    old, new, late = (under(make_record(i), token) for i, token in enumerate((7, 8, 7)))
    store.begin_run(*make_run([old, new, late]))
    store.append(old)
    store.append(new)
    store.journal_launch("run-1", late.input_hash, 0, {"lease": lease(8)})
    with pytest.raises(
        StaleLease, match=r"shed/0123456789abcdef was leased again since \(token 8 to holder 8\): what holder 7 .* run again"
    ):
        store.append(late)
    with pytest.raises(StaleLease):
        store.journal_launch("run-1", late.input_hash, 0, {"lease": lease(7)})
    assert list(store.records()) == [old, new]
    assert store.launches("run-1", late.input_hash) == {0: {"lease": lease(8)}}, "a refusal takes nothing away"
    assert store.highest_token("shed/0123456789abcdef") == 8


def test_a_lease_fences_from_when_it_is_known_not_from_its_first_record(
    store: Store, make_record: MakeRecord, make_run: MakeRun
) -> None:
    record = under(make_record(0), 7)
    store.begin_run(*make_run([record]))
    store.fence(lease(8))
    store.fence(lease(8))
    with pytest.raises(StaleLease):
        store.append(record)
    with pytest.raises(StaleLease):
        store.fence(lease(7))
    store.append(under(make_record(0), 8))


def test_devices_are_fenced_apart_and_what_has_no_lease_not_at_all(
    store: Store, make_record: MakeRecord, make_run: MakeRun
) -> None:
    records = [
        under(make_record(0), 9),
        under(make_record(1), 3, "other"),
        make_record(2),
        make_record(3, provenance={"device": {}}),
    ]
    store.begin_run(*make_run(records))
    for record in records:
        store.append(record)
    assert list(store.records()) == records
    assert [store.highest_token(device) for device in ("shed/0123456789abcdef", "other", "unknown")] == [9, 3, 0]


def test_a_record_that_is_refused_for_another_reason_moves_no_fence(
    store: Store, make_record: MakeRecord, make_run: MakeRun
) -> None:
    store.begin_run(*make_run([]))
    with pytest.raises(Exception, match="has not planned this cell"):
        store.append(under(make_record(0), 99))
    assert store.highest_token("shed/0123456789abcdef") == 0


def test_large_tokens_and_odd_holders_are_kept(store: Store) -> None:
    store.fence(lease(10**12 - 1, holder="\x00\ud800 ü"))
    with pytest.raises(StaleLease):
        store.fence(lease(10**12 - 2))


def test_whatever_the_order_no_lower_token_follows_a_higher_one(store: Store) -> None:
    """Many who write at once; what each was told agrees with one order in which tokens never fall."""
    tokens = list(range(1, 41))
    random.Random(1).shuffle(tokens)
    accepted: list[int] = []
    barrier = threading.Barrier(4)

    def write(mine: list[int]) -> None:
        barrier.wait()
        for token in mine:
            try:
                store.fence(lease(token))
            except StaleLease:
                assert store.highest_token("shed/0123456789abcdef") > token
            else:
                accepted.append(token)

    threads = [threading.Thread(target=write, args=(tokens[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 40 in accepted and store.highest_token("shed/0123456789abcdef") == 40


def test_a_store_of_before_the_fence_gets_it(store_url: str, tmp_path: Path) -> None:
    place = parse_place(store_url)
    if place.path is not None:
        place.path.parent.mkdir()
    shutil.copytree(
        SCRIPTS, tmp_path / "old", ignore=lambda _, names: [name for name in names if name[:4].isdigit() and name[:4] > "0001"]
    )
    engine = connect(place)
    prepare(engine, place, tmp_path / "old", "0001")
    assert not sa.inspect(engine).has_table("leases")
    engine.dispose()
    with open_store(store_url) as store:
        store.fence(lease(1))
        assert store.highest_token("shed/0123456789abcdef") == 1
