"""The coordinator's desk: a run's place in the store and on the terminal. Devices' threads come here; one thread does what they ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from harness.inbox import Inbox
from harness.plan import Cell
from harness.provenance import now
from harness.steps import Step
from results.record import Json, Record, Run
from targets.lease import Lease, LeaseLost

if TYPE_CHECKING:
    from results.store import Store


class Observer(Protocol):
    """Who watches a run: the terminal, or a test."""

    def begins(self, cells: Sequence[Cell]) -> None: ...
    def phase(self, place: str, text: str) -> None: ...
    def step(self, step: Step, event: str) -> None: ...
    def launched(self, cell: Cell, launch: int) -> None: ...
    def ended(self, cell: Cell, record: Record) -> None: ...


class Desk:
    """What returns from here has been done: a journalled launch is durable."""

    def __init__(self, store: Store, observer: Observer, inbox: Inbox) -> None:
        self._store, self._observer, self._inbox = store, observer, inbox
        self.ended = 0
        """Cells recorded so far."""

    def phase(self, place: str, text: str) -> None:
        """What is done where just now; empty: nothing more."""
        self._inbox.call(self._observer.phase, place, text)

    def adopt_launches(self, run: Run, cell: Cell) -> dict[int, Json]:
        return self._inbox.call(self._store.adopt_launches, run.id, cell.input_hash)

    def journal_launch(self, run: Run, cell: Cell, index: int, document: Json) -> None:
        def journal() -> None:
            with _fenced():
                self._store.journal_launch(run.id, cell.input_hash, index, document)
            self._observer.launched(cell, index)

        self._inbox.call(journal)

    def void_launches(self, run: Run, launches: Sequence[tuple[str, int]]) -> None:
        if launches:
            self._inbox.call(self._store.void_launches, run.id, launches)

    def append(self, cell: Cell, record: Record) -> None:
        def keep() -> None:
            with _fenced():
                self._store.append(record)
            self.ended += 1
            self._observer.ended(cell, record)

        self._inbox.call(keep)

    def fence(self, lease: Lease) -> None:
        """The store takes nothing more from who had the device before."""

        def fence() -> None:
            with _fenced():
                self._store.fence(lease.document())

        self._inbox.call(fence)

    def highest_token(self, device: str) -> int:
        return self._inbox.call(self._store.highest_token, device)

    def quarantine(self, target: str) -> str | None:
        """Why the device may not be touched, or None."""
        found = self._inbox.call(self._store.quarantined).get(target)
        return found and (
            f"target {target} is in quarantine since {found.since}: {found.reason}. When it is mended: assay targets release {target}"
        )

    def visited(self, target: str, fault: str | None) -> None:
        """How a visit to a device ended: by this fault of the device's, or well."""
        self._inbox.call(self._store.note_visit, target, fault, now())


@contextmanager
def _fenced() -> Iterator[None]:
    """To the device's thread a lease that the store calls stale is a lease lost."""
    from results.store import StaleLease

    try:
        yield
    except StaleLease as error:
        raise LeaseLost(str(error)) from error
