"""Calls are done by the owner, in order; answers and errors go back to whoever asked."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from harness.inbox import Inbox


def elsewhere(function: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_a_call_is_done_by_the_owner_and_answered_to_the_caller() -> None:
    inbox = Inbox()
    found: list[object] = []

    def ask() -> None:
        found.append(inbox.call(threading.get_ident))
        try:
            inbox.call(int, "x")
        except ValueError as error:
            found.append(str(error))

    thread = elsewhere(ask)
    inbox.serve()
    inbox.serve()
    thread.join(60)
    assert found[0] == threading.get_ident() != thread.ident and "invalid literal" in str(found[1])


def test_the_owner_does_its_own_calls_at_once() -> None:
    inbox = Inbox()
    assert inbox.call(int, "7", base=8) == 7
    inbox.serve(timeout_s=0)


def test_an_interrupt_in_the_middle_of_a_call_is_the_owners_and_leaves_no_caller_waiting() -> None:
    inbox, heard = Inbox(), []

    def interrupted() -> None:
        raise KeyboardInterrupt

    def ask() -> None:
        try:
            inbox.call(interrupted)
        except KeyboardInterrupt:
            heard.append(True)

    thread = elsewhere(ask)
    with pytest.raises(KeyboardInterrupt):
        inbox.serve()
    thread.join(60)
    assert heard


def test_what_is_posted_is_not_waited_for() -> None:
    inbox, done = Inbox(), []
    inbox.post(lambda: done.append(1))
    assert not done
    inbox.serve()
    assert done == [1]
