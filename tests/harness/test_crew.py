"""Hosts at once, one host's tasks in order; an error or Ctrl-C ends them all, and soon."""

from __future__ import annotations

import threading
import time

import pytest

from harness.crew import Crew
from harness.inbox import Inbox
from targets import interrupt


def test_tasks_of_one_host_are_done_in_order_by_one_thread() -> None:
    inbox, done = Inbox(), []
    with Crew(inbox) as crew:
        for number in range(5):
            crew.hand("desk", lambda number=number: done.append((number, threading.get_ident())))  # type: ignore[misc]
        crew.wait()
    assert [number for number, _ in done] == list(range(5)) and len({thread for _, thread in done}) == 1


def test_hosts_work_at_once() -> None:
    """Each waits for the other: one after the other they would never end."""
    meeting = threading.Barrier(2)

    def meet() -> None:
        meeting.wait(60)

    with Crew(Inbox()) as crew:
        crew.hand("desk", meet)
        crew.hand("shelf", meet)
        crew.wait()


def test_the_owner_is_asked_meanwhile() -> None:
    inbox, answers = Inbox(), []
    with Crew(inbox) as crew:
        for host in ("desk", "shelf"):
            crew.hand(host, lambda: answers.append(inbox.call(threading.get_ident)))
        crew.wait()
    assert answers == [threading.get_ident()] * 2


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_an_error_or_ctrl_c_stops_the_others_who_may_tidy_up(is_interrupted: bool) -> None:
    inbox, tidied, begun = Inbox(), [], threading.Event()

    def long() -> None:
        try:
            begun.set()
            interrupt.sleep(1000)
        finally:
            tidied.append(inbox.call(str, "by the owner, even now"))

    def fails() -> None:
        begun.wait(60)
        raise ValueError("broken")

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt if is_interrupted else ValueError), Crew(inbox) as crew:
        crew.hand("desk", long)
        crew.hand("desk", lambda: tidied.append("never begun"))
        if is_interrupted:
            begun.wait(60)
            raise KeyboardInterrupt
        crew.hand("shelf", fails)
        crew.wait()
    assert tidied == ["by the owner, even now"] and threading.active_count() == before


def test_a_thread_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.crew.STOP_S", 0.2)
    release, begun = threading.Event(), time.monotonic()

    def hang() -> None:
        release.wait(1000)

    with pytest.raises(KeyboardInterrupt), Crew(Inbox()) as crew:
        crew.hand("desk", hang)
        raise KeyboardInterrupt
    assert time.monotonic() - begun < 500
    release.set()
