"""Quiet, with real processes: who times is alone, who works shares, and the dead hold nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from targets import quiet
from targets.session import CommandFailed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


class Region:
    """Another process in a quiet region."""

    def __init__(self, kind: str, host: str, prologue: str = "") -> None:
        program = (
            f"import functools, os, sys, time\nfrom targets.quiet import timing, working\ninside = lambda: None\n{prologue}\n"
            f"say = lambda word: print(word, flush=True)\nsay_once = functools.cache(say)\n"
            f"def pause():\n    say_once('waiting')\n    time.sleep(0.005)\n"
            f"with {kind}({host!r}, pause=pause):\n    inside()\n    say('in')\n    sys.stdin.readline()\n"
            f"say('out')\nsys.stdin.readline()\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def hears(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def enter() -> Iterator[type[Region]]:
    regions: list[Region] = []

    class Kept(Region):
        def __init__(self, *args: str) -> None:
            super().__init__(*args)
            regions.append(self)

    yield Kept
    for region in regions:
        region.end()


def test_workers_share(enter: type[Region]) -> None:
    for _ in range(2):  # one after the other: who comes while another passes the gate waits a moment
        assert enter("working", "desk").hears() == "in"


@pytest.mark.parametrize(("held", "wanted"), [("timing", "timing"), ("timing", "working"), ("working", "timing")])
def test_one_who_times_is_alone(enter: type[Region], held: str, wanted: str) -> None:
    first = enter(held, "desk")
    assert first.hears() == "in"
    second = enter(wanted, "desk")
    assert second.hears() == "waiting"
    first.leave()
    assert first.hears() == "out"
    assert second.hears() == "in"


def test_hosts_do_not_hinder_each_other(enter: type[Region]) -> None:
    first, second = enter("timing", "desk"), enter("timing", "../desk\n")
    assert (first.hears(), second.hears()) == ("in", "in")


def test_the_dead_hold_nothing(enter: type[Region]) -> None:
    first = enter("timing", "desk")
    assert first.hears() == "in"
    second = enter("timing", "desk")
    assert second.hears() == "waiting"
    first.end()
    assert second.hears() == "in"


def test_a_child_forked_inside_does_not_keep_the_lock(enter: type[Region]) -> None:
    """A forked worker shares the open file; the lock is given up all the same when the region ends."""
    prologue = (
        "def inside():\n    parent = os.getpid()\n    if os.fork() == 0:\n"
        "        while os.getppid() == parent:\n            time.sleep(0.02)\n        os._exit(0)\n"
    )
    first = enter("timing", "desk", prologue)
    assert first.hears() == "in"
    first.leave()
    assert first.hears() == "out"
    assert enter("timing", "desk").hears() == "in"


def test_a_stream_of_workers_cannot_keep_one_who_times_out(enter: type[Region]) -> None:
    worker = enter("working", "desk")
    assert worker.hears() == "in"
    timer = enter("timing", "desk")
    assert timer.hears() == "waiting"
    late = enter("working", "desk")
    assert late.hears() == "waiting"  # though it could share with the first
    worker.leave()
    assert timer.hears() == "in"
    timer.leave()
    assert late.hears() == "in"


def test_an_error_inside_gives_the_lock_back() -> None:
    with pytest.raises(KeyError), quiet.timing("desk"):
        raise KeyError
    with quiet.timing("desk"):
        pass


def test_threads_of_one_process_exclude_each_other_too() -> None:
    events: list[str] = []

    def pause() -> None:
        if not events:
            events.append("waits")
        time.sleep(0.005)

    def work() -> None:
        with quiet.working("desk", pause=pause):
            events.append("works")

    with quiet.timing("desk"):
        thread = threading.Thread(target=work)
        thread.start()
        while not events:
            time.sleep(0.01)
        events.append("timed")
    thread.join()
    assert events == ["waits", "timed", "works"]


def test_what_pause_raises_ends_the_wait_and_leaves_no_lock() -> None:
    """A thread that is told to stop must not wait for another process's whole measurement; nor may it keep the gate shut."""

    def give_up() -> None:
        raise KeyboardInterrupt

    with quiet.working("desk"):
        refused = []

        def time_it() -> None:
            try:
                with quiet.timing("desk", pause=give_up):
                    raise AssertionError("two at once")
            except KeyboardInterrupt:
                refused.append(True)

        thread = threading.Thread(target=time_it)
        thread.start()
        thread.join()
    with quiet.timing("desk"):
        assert refused


@pytest.mark.parametrize("outer", [quiet.timing, quiet.working])
def test_a_region_within_a_region_is_an_error_and_no_standstill(outer: object) -> None:
    assert callable(outer)
    with outer("desk"), quiet.timing("other"):
        with pytest.raises(RuntimeError, match="already in a quiet region of host desk"), quiet.working("desk"):
            pass
        with pytest.raises(RuntimeError, match="already in a quiet region of host other"), quiet.working("other"):
            pass


def test_locks_lie_in_a_folder_of_this_user_alone(tmp_path: Path) -> None:
    with quiet.timing("desk"):
        pass
    folder = tmp_path / f"assay-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.name.startswith("desk-") for path in folder.iterdir())


def test_a_folder_laid_out_by_someone_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / f"assay-{os.getuid()}").symlink_to(tmp_path / "theirs")
    with pytest.raises(CommandFailed, match="not a folder of this user"), quiet.timing("desk"):
        pass


def test_one_at_a_time_does_what_is_named() -> None:
    """Also among threads; what `pause` raises ends the wait."""
    with quiet.alone("lease of desk"):
        with quiet.alone("lease of shed"):
            pass

        def give_up() -> None:
            raise TimeoutError

        with pytest.raises(TimeoutError), quiet.alone("lease of desk", pause=give_up):
            pass
    with quiet.alone("lease of desk", pause=give_up):
        pass
