"""What a command started is found by the name in its environment, wherever it hid; what others run is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from targets import runs


def start(name: str) -> subprocess.Popen[bytes]:
    """Two generations, each in a session of its own."""
    script = "setsid sleep 300 & exec sleep 300"
    return subprocess.Popen(["sh", "-c", script], env={**os.environ, runs.VARIABLE: name}, start_new_session=True)


def holders(name: str) -> list[str]:
    entry = f"{runs.VARIABLE}={name}\0".encode()
    return [str(path) for path in Path("/proc").glob("[0-9]*/environ") if os.access(path, os.R_OK) and entry in _bytes(path)]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def until_two(name: str) -> None:
    for _ in range(500):
        if len(holders(name)) == 2:
            return
        time.sleep(0.01)
    raise AssertionError(f"{name} did not start")


def test_slay_finds_all_of_a_run_and_nothing_else() -> None:
    ours, other = runs.new_run(), runs.new_run()
    mine, theirs = start(ours), start(other)
    until_two(ours)
    until_two(other)
    runs.slay(ours)
    assert holders(ours) == [] and mine.wait() == -9
    assert len(holders(other)) == 2 and theirs.poll() is None
    runs.slay(other)
    theirs.wait()


def test_sweep_takes_the_runs_of_harnesses_that_are_gone_and_no_other() -> None:
    program = (
        "import os, subprocess; from targets import runs; name = runs.new_run(); print(name, flush=True);"
        "subprocess.Popen(['sleep', '300'], env={**os.environ, runs.VARIABLE: name}, start_new_session=True, stdout=-3);"
        "subprocess.Popen(['sleep', '300'], env={**os.environ, runs.VARIABLE: name}, start_new_session=True, stdout=-3); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=False)
    assert killed.returncode == -9
    left, alive = killed.stdout.decode().strip(), runs.new_run()
    living = start(alive)
    until_two(left)
    until_two(alive)
    runs.sweep()
    assert holders(left) == [] and len(holders(alive)) == 2
    runs.slay(alive)
    living.wait()


def test_a_number_that_was_given_to_another_process_is_not_mistaken_for_the_harness() -> None:
    """The watcher's number lives on (it is ours), but it began at another time."""
    namespace, pid, _, number = runs.new_run().split(".")
    name = f"{namespace}.{pid}.1.{number}"
    orphan = start(name)
    until_two(name)
    runs.sweep()
    assert holders(name) == [] and orphan.wait() == -9


def test_runs_of_a_container_are_left_alone() -> None:
    """Its harness has a number of its own there, which here is no one's."""
    name = f"1.{2**22 + 1}.5.000001"
    process = start(name)
    until_two(name)
    runs.sweep()
    assert len(holders(name)) == 2
    runs.slay(name)
    process.wait()


def test_a_harness_that_no_one_has_reaped_is_gone() -> None:
    program = "from targets import runs; print(runs.new_run())"
    harness = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert harness.stdout is not None
    with harness.stdout:
        name = harness.stdout.readline().decode().strip()
    os.waitid(os.P_PID, harness.pid, os.WEXITED | os.WNOWAIT)
    orphan = start(name)
    until_two(name)
    runs.sweep()
    assert holders(name) == [] and orphan.wait() == -9
    harness.wait()


def test_names_are_never_given_twice() -> None:
    assert len({runs.new_run() for _ in range(100)}) == 100
