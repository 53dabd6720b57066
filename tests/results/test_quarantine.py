"""Three faulty visits in a row shut a device away, whatever runs they were in; a person lets it out."""

from __future__ import annotations

import pytest

from results.quarantine import FAULTS
from results.store import StoreError, open_store


def test_only_faults_in_a_row_count(store_url: str) -> None:
    with open_store(store_url) as store:
        for fault in ["gone", "gone", None, "gone", "gone", None, None]:
            store.note_visit("shed", fault, "t0")
        assert store.quarantined() == {}
        for number in range(FAULTS):
            assert store.quarantined() == {}
            store.note_visit("attic", "other device", "t0") if number else None
            store.note_visit("shed", f"fault {number}", f"t{number}")
        assert set(store.quarantined()) == {"shed"}
    with open_store(store_url) as store:
        found = store.quarantined()["shed"]
        assert found.since == "t2" and "fault 2" in found.reason and str(FAULTS) in found.reason


def test_a_released_device_begins_anew(store_url: str) -> None:
    with open_store(store_url) as store:
        for _ in range(FAULTS):
            store.note_visit("shed", "gone", "t0")
        assert "gone" in store.release("shed", "new cable", "t1").reason
        assert store.quarantined() == {}
        for _ in range(FAULTS - 1):
            store.note_visit("shed", "gone", "t2")
        assert store.quarantined() == {}
        store.note_visit("shed", "gone\ud800\x00", "t3")
        assert store.quarantined()["shed"].since == "t3"


def test_only_who_is_in_can_be_let_out(store_url: str) -> None:
    with open_store(store_url) as store:
        for _ in range(FAULTS):
            store.note_visit("shed", "gone", "t0")
        with pytest.raises(StoreError, match="target attic is not in quarantine; in quarantine: shed"):
            store.release("attic", "", "t1")
