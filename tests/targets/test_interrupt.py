"""Threads hear an interrupt once, in whatever they wait in, and may wait again while they tidy up."""

from __future__ import annotations

import threading
import time

import pytest

from targets import interrupt
from targets.target import Target
from targets.transports import connect


def test_it_is_heard_once_and_in_its_own_block_alone() -> None:
    event = threading.Event()
    with interrupt.interruptible(event):
        interrupt.check()
        event.set()
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
        interrupt.check()  # tidying up
    with interrupt.interruptible(event), pytest.raises(KeyboardInterrupt):
        interrupt.sleep(60)
    interrupt.check()
    interrupt.sleep(0)


def test_a_command_that_a_thread_waits_for_is_ended_and_the_next_one_runs() -> None:
    event, heard, after = threading.Event(), threading.Event(), []

    def work() -> None:
        with interrupt.interruptible(event), connect(Target("local")) as session:
            try:
                session.run(["sleep", "1000"], timeout_s=1000)
            except KeyboardInterrupt:
                heard.set()
                after.append(session.run(["echo", "tidy"], timeout_s=60).stdout)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.2)
    event.set()
    thread.join(60)
    assert heard.is_set() and after == [b"tidy\n"]


def test_it_lasts_as_long_as_it_was_asked_to() -> None:
    begun = time.monotonic()
    interrupt.sleep(0.12)
    assert time.monotonic() - begun >= 0.12
