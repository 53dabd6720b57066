"""Run: the only loop. Artifacts are made here, block by block, while devices measure what is made; every planned cell leaves one record."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from harness.closing import closed, data_facts, unmade
from harness.crew import Crew
from harness.desk import Desk, Observer
from harness.executor import Executor, Failure
from harness.inbox import Inbox
from harness.plan import Cell
from harness.provenance import environment, now
from harness.steps import build_step
from harness.suite import Suite
from harness.trial import Trial, begun
from harness.visit import visit
from results.record import Run
from targets.quiet import HERE, working

if TYPE_CHECKING:
    from results.store import Store

TICK_S = 0.01
"""Between two looks whether this machine is free for making."""


class Conductor:
    """One execution of a suite's cells against one store: one thread for each physical host, and this one, which alone writes to the store."""

    def __init__(self, suite: Suite, store: Store, executor: Executor, observer: Observer) -> None:
        self.suite, self.store, self.executor, self.observer = suite, store, executor, observer
        self.run = Run(str(uuid4()), suite.name, suite.to_json(), suite.seed, now(), environment=environment())
        self.inbox = Inbox()
        self.desk = Desk(store, observer, self.inbox)

    @property
    def ended(self) -> int:
        """Cells recorded so far."""
        return self.desk.ended

    def conduct(self, cells: Sequence[Cell]) -> Run:
        """Every cell that is not excluded ends with a record in the store."""
        planned = [cell for cell in cells if cell.verdict != "excluded"]
        data = {workload.label: data_facts(workload.data) for workload in dict.fromkeys(cell.workload for cell in planned)}
        self.run = dataclasses.replace(self.run, document=dict(self.run.document) | {"data": data})
        self.store.begin_run(self.run, [cell.planned(position) for position, cell in enumerate(planned)])
        self.observer.begins(planned)
        for cell in planned:
            if cell.verdict == "unsupported":
                self.desk.append(cell, closed(self.run, cell, "unsupported", cell.reason, None, now()))
        todo = [cell for cell in planned if cell.verdict == "run"]
        trusted: set[str] = set()
        with Crew(self.inbox) as crew:
            for _, block in itertools.groupby(sorted(todo, key=_block_order(todo)), key=lambda cell: cell.block):
                if made := self._made(list(block)):
                    host = made[0].cell.target.host
                    crew.hand(host, partial(visit, self.desk, self.run, self.suite.sampling, made, trusted))
            crew.wait()
        self.store.finish_run(self.run.id, now())
        return self.run

    def _made(self, cells: list[Cell]) -> list[Trial]:
        """The cells whose artifacts are there now; the others have their records. Devices are served meanwhile."""
        started = now()
        builds = {
            cell.key: build_step(cell.workload, cell.method, cell.backend, cell.target, cell.point.batch, self.suite.seed)
            for cell in cells
        }
        self.observer.phase("", f"making {cells[0].axes.model}")
        with ExitStack() as stack:
            if not all(build.is_done() for build in builds.values()):
                stack.enter_context(working(HERE, pause=partial(self.inbox.serve, TICK_S)))
            failures = self.executor.run(list(builds.values()), self._serve_until_any)
        self.observer.phase("", "")
        made = []
        for cell in cells:
            failure = failures[builds[cell.key].key]
            if failure is None:
                made.append(begun(cell, builds[cell.key], started))
            else:
                self.desk.append(cell, unmade(self.run, cell, failure, started))
        return made

    def _serve_until_any(self, futures: Collection[Future[Failure | None]]) -> None:
        for future in futures:
            future.add_done_callback(lambda _: self.inbox.post(_nothing))
        while not any(future.done() for future in futures):
            self.inbox.serve()


def _nothing() -> None:
    """Posted to wake whoever serves."""


def _block_order(cells: Sequence[Cell]) -> Callable[[Cell], int]:
    first: dict[tuple[object, ...], int] = {}
    for index, cell in enumerate(cells):
        first.setdefault(cell.block, index)
    return lambda cell: first[cell.block]
