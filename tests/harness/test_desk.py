"""The desk: threads ask, the one who made it does; what the store calls stale is a lost lease to them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from harness.closing import closed
from harness.crew import Crew
from harness.desk import Desk
from harness.inbox import Inbox
from harness.plan import Cell
from harness.plugins import Choice
from harness.progress import Terminal
from harness.suite import OperatingPoint, Workload
from results.record import Axes, Run
from results.store import open_store
from targets.lease import Lease, LeaseLost
from targets.target import Target

T = TypeVar("T")
RUN = Run("run", "suite", {}, 0, "t0")
CELL = Cell(
    Workload(Choice("mlp"), "digits"), Choice("float32"), Choice("onnxruntime"), Target("board"), OperatingPoint(), "float32",
    Axes("mlp", "float32", "onnxruntime", "board"), "key", "hash", "run",
)  # fmt: skip


def from_a_thread(inbox: Inbox, function: Callable[[], T]) -> T:
    found: list[T] = []
    with Crew(inbox) as crew:
        crew.hand("desk", lambda: found.append(function()))
        crew.wait()
    return found[0]


def test_launches_and_records_of_a_thread_are_in_the_store_when_it_goes_on(tmp_path: Path) -> None:
    inbox = Inbox()
    with open_store(str(tmp_path / "s.db")) as store:
        store.begin_run(RUN, [CELL.planned(0)])
        desk = Desk(store, Terminal(1, quiet=True), inbox)

        def work() -> list[int]:
            assert threading.current_thread().name == "desk"
            counts = []
            for index in range(3):
                desk.journal_launch(RUN, CELL, index, {"n": index})
            counts.append(len(desk.adopt_launches(RUN, CELL)))
            desk.void_launches(RUN, [(CELL.input_hash, 1), (CELL.input_hash, 2)])
            counts.append(len(desk.adopt_launches(RUN, CELL)))
            desk.append(CELL, closed(RUN, CELL, "failed", "x", None, "t1"))
            counts.append(len(desk.adopt_launches(RUN, CELL)))
            return counts

        assert from_a_thread(inbox, work) == [3, 1, 0]
        assert desk.ended == 1 and [record.status for record in store.records()] == ["failed"]


def test_who_lost_the_device_to_another_can_keep_nothing(tmp_path: Path) -> None:
    inbox = Inbox()
    with open_store(str(tmp_path / "s.db")) as store:
        store.begin_run(RUN, [CELL.planned(0)])
        desk = Desk(store, Terminal(1, quiet=True), inbox)
        ours, theirs = Lease("host/board", 7, "us"), Lease("host/board", 8, "them")
        desk.fence(ours)
        desk.journal_launch(RUN, CELL, 0, {"lease": ours.document()})
        assert desk.highest_token("host/board") == 7
        desk.fence(theirs)
        record = closed(RUN, CELL, "ok", None, None, "t1", provenance={"device": {"lease": ours.document()}})
        for late in (
            lambda: desk.fence(ours),
            lambda: desk.journal_launch(RUN, CELL, 1, {"lease": ours.document()}),
            lambda: desk.append(CELL, record),
        ):
            with pytest.raises(LeaseLost, match="leased again since"):
                from_a_thread(inbox, late)
        assert len(store.launches(RUN.id, CELL.input_hash)) == 1 and not list(store.records()) and desk.ended == 0


def test_a_device_in_quarantine_is_told_with_the_way_out(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "s.db")) as store:
        desk = Desk(store, Terminal(1, quiet=True), Inbox())
        for fault in ("gone", None, "gone", "gone", "gone"):
            assert desk.quarantine("board") is None
            desk.visited("board", fault)
        reason = desk.quarantine("board")
        assert reason is not None and "gone" in reason and "assay targets release board" in reason
