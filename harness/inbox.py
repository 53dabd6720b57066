"""Calls that threads leave for the one thread that may do them: it alone touches the store and the terminal."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Inbox:
    """Made by the thread that will serve it."""

    def __init__(self) -> None:
        self._owner = threading.get_ident()
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Have it done, wait, and take its answer or its error; the owner does it itself, at once."""
        if threading.get_ident() == self._owner:
            return function(*args, **kwargs)
        answer: Future[T] = Future()

        def do() -> None:
            try:
                answer.set_result(function(*args, **kwargs))
            except BaseException as error:  # it is the caller's, who waits; Ctrl-C is the owner's as well
                answer.set_exception(error)
                if not isinstance(error, Exception):
                    raise

        self._calls.put(do)
        return answer.result()

    def post(self, function: Callable[[], object]) -> None:
        """Have it done, without waiting; what it raises is the owner's."""
        self._calls.put(function)

    def serve(self, timeout_s: float | None = None) -> None:
        """Do one call; wait for it, at most so long."""
        try:
            call = self._calls.get(timeout=timeout_s)
        except queue.Empty:
            return
        call()
