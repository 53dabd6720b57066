"""A thread for each physical host: the tasks of one host are done there one after another, those of different hosts at once."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from harness.inbox import Inbox
from targets.interrupt import interruptible

STOP_S = 4.0
"""For the threads to end what they are in the middle of, after Ctrl-C or an error; one that hangs longer is left behind."""
TICK_S = 0.05

Task = Callable[[], None]


class Crew(AbstractContextManager["Crew"]):
    """In a `with`: when the block ends by an error, the threads are told to stop, and are served until they have."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._stop = threading.Event()
        self._tasks: dict[str, queue.SimpleQueue[Task | None]] = {}
        self._threads: list[threading.Thread] = []
        self._open = 0

    def hand(self, host: str, task: Task) -> None:
        """Have it done when all that was handed to this host before is done."""
        if host not in self._tasks:
            self._tasks[host] = queue.SimpleQueue()
            self._threads.append(threading.Thread(target=self._work, args=(self._tasks[host],), name=host, daemon=True))
            self._threads[-1].start()
        self._open += 1
        self._tasks[host].put(task)

    def wait(self) -> None:
        """Until every task is done; raises what one of them raised."""
        while self._open:
            self._inbox.serve()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._stop.set()
        for tasks in self._tasks.values():
            tasks.put(None)
        deadline = time.monotonic() + STOP_S
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < deadline:
            self._inbox.serve(TICK_S)

    def _work(self, tasks: queue.SimpleQueue[Task | None]) -> None:
        with interruptible(self._stop):
            while (task := tasks.get()) is not None and not self._stop.is_set():
                error: BaseException | None = None
                try:
                    task()
                except BaseException as raised:  # noqa: BLE001 - the end of the thread's world: it is raised again in the owner's
                    error = raised
                self._inbox.post(partial(self._ended, error))

    def _ended(self, error: BaseException | None) -> None:
        self._open -= 1
        if error is not None and not self._stop.is_set():
            raise error
