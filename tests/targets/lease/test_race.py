"""Two harnesses race for one device, are stopped for longer than a lease lasts, and are killed: never two inside, nothing left behind.

Who is inside has a process on the device that made the observer's file (O_EXCL) and removes it; finding it made by a living process is the
violation. Here a few rounds from a seed, at night many.
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from targets.lease import leased, look
from targets.target import Target
from targets.transports import connect

NIGHTLY = bool(os.environ.get("ASSAY_NIGHTLY"))
ROUNDS = 200 if NIGHTLY else 16
STOPS = 50 if NIGHTLY else 2
KILLS = 40 if NIGHTLY else 4
ROOT = Path(__file__).resolve().parents[3]

INSIDE = r"""
set -C
if ! (echo $$ >observer) 2>/dev/null; then
  read -r other <observer
  if [ -n "$other" ] && [ -d "/proc/$other" ] && ! grep -q '^State:.[ZX]' "/proc/$other/status"; then echo "TWO INSIDE"; exit 1; fi
  rm -f observer
  (echo $$ >observer) || { echo "TWO INSIDE"; exit 1; }
fi
echo in
sleep "$1"
rm -f observer
"""
"""Only who was killed inside leaves the file behind; the dead are not inside."""

CONTENDER = r"""
import contextlib, dataclasses, json, os, random, signal, sys, threading, time
sys.path.insert(0, {root!r})
import targets.lease
from targets.lease import leased, LeaseLost
from targets.session import Unreachable
from targets.target import Target
from targets.transports import connect
given, inside, who, rounds, store_path = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[5]
stop_share, over = float(sys.argv[6]), sys.argv[7]
target = Target(**{{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}})
target = dataclasses.replace(target, host=who)  # another host: it knows the device by another name, and shares no lock
from results.store import open_store, StaleLease
targets.lease.LEAST_PAUSE_S = targets.lease.MOST_PAUSE_S = 0.005  # nobody is timing here: race
# Between the look at the top and the making of the next there is nothing: make it long.
targets.lease.TAKE = targets.lease.TAKE.replace("me=$(id -u)", "sleep 0.0$(($$ % 10)); me=$(id -u)")
rng = random.Random(who)
say = lambda **words: print(json.dumps(words), flush=True)
with open_store(store_path) as store, contextlib.ExitStack() as links:
    done, session = 0, links.enter_context(connect(target))
    while done < rounds and not os.path.exists(over):
        time.sleep(rng.uniform(0, 0.03))
        try:
            with leased(session, target, holder=who, wait_s=120, expiry_s=1.0) as held:
                lease = held.lease.document() | {{"device": held.lease.device.partition("/")[2]}}
                store.fence(lease)
                if rng.random() < stop_share:
                    long = threading.Thread(target=lambda: held.session.run(["sh", "-c", inside, "sh", "60"], timeout_s=90), daemon=True)
                    threading.excepthook = lambda _: None
                    long.start()
                    time.sleep(0.1)
                    say(stops=os.getpid(), token=lease["token"])
                    os.kill(os.getpid(), signal.SIGSTOP)
                    is_cut = False
                    for act in (lambda: held.session.run(["touch", "stale"], timeout_s=30), held.check):
                        try:
                            act()
                            say(ran=who)
                        except LeaseLost:
                            say(lost=who)
                        except Unreachable:
                            is_cut = True
                            say(cut=who)
                    try:
                        store.fence(lease)
                        say(recorded=who)
                    except StaleLease:
                        say(refused=who)
                    long.join()
                    done += not is_cut
                else:
                    result = held.session.run(["sh", "-c", inside, "sh", "0.02"], timeout_s=60)
                    store.fence(lease)
                    say(inside=who, status=result.exit_status, said=result.stdout.decode(), token=lease["token"])
                    done += 1
        except (LeaseLost, StaleLease) as error:
            say(overtaken=str(error))  # on a machine so busy that it could not renew in time: it tries again
        except Unreachable as error:  # who was stopped for long may find its link cut: this one would stay so
            say(overtaken=str(error))
            links.close()
            session = links.enter_context(connect(target))
    say(ended=who)
"""


@pytest.fixture(params=["local", pytest.param("sshd", marks=pytest.mark.peers)])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    if request.param == "local":
        return Target("device", work_dir=str(tmp_path / "work dir"))
    behind: Target = request.getfixturevalue("ssh_target")(request.getfixturevalue(request.param))
    return behind


def start(program: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def wake(pid: int) -> None:
    """It has said that it stops itself, and may not have done so yet: a signal to go on would be lost."""
    while "\nState:\tT" not in Path(f"/proc/{pid}/status").read_text():
        time.sleep(0.01)
    os.kill(pid, signal.SIGCONT)


class Race:
    """Contenders, and all that each says; one that stops is woken when the other has been inside since, and so has its device."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.given, self.folder = json.dumps(asdict(target)), folder
        self.said: dict[str, list[dict[str, Any]]] = {}
        self.news = threading.Condition()

    def run(self, who: str, rounds: float, stop_share: float) -> None:
        words = [self.given, INSIDE, who, str(rounds), str(self.folder / "store.db"), str(stop_share), str(self.folder / "over")]
        said = self.said.setdefault(who, [])
        with start(CONTENDER.format(root=str(ROOT)), *words) as process:
            assert process.stdout
            for line in process.stdout:
                with self.news:
                    said.append(json.loads(line))
                    self.news.notify_all()
                    if "stops" in said[-1]:
                        self.news.wait_for(lambda token=said[-1]["token"]: self.last_inside() > token)  # type: ignore[misc]
                        wake(said[-1]["stops"])

    def last_inside(self) -> int:
        """The highest token of who has been inside: what others said before, and is read late, does not count."""
        return max((line["token"] for lines in self.said.values() for line in lines if "inside" in line), default=0)

    def count(self, word: str) -> int:
        return sum(word in line for lines in self.said.values() for line in lines)


def test_two_harnesses_are_never_both_inside(target: Target, tmp_path: Path) -> None:
    race = Race(target, tmp_path)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda who: race.run(who, ROUNDS // 2, 0.0), ("east", "west")))
    entered = [line for lines in race.said.values() for line in lines if "inside" in line]
    assert len(entered) == ROUNDS and all((line["status"], line["said"]) == (0, "in\n") for line in entered), entered
    assert len({line["token"] for line in entered}) == ROUNDS
    assert race.count("ended") == 2


def test_who_is_stopped_for_longer_than_its_lease_neither_runs_nor_records(target: Target, tmp_path: Path) -> None:
    """East is stopped inside, west comes in; east wakes, and learns it before it does anything there."""
    race = Race(target, tmp_path)

    def east() -> None:
        try:
            race.run("east", STOPS, 1.0)
        finally:  # west would go on for ever
            (tmp_path / "over").touch()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda act: act(), (east, lambda: race.run("west", math.inf, 0.0))))
    entered = [line for line in race.said["west"] if "inside" in line]
    assert entered and all((line["status"], line["said"]) == (0, "in\n") for line in entered), entered
    stops = race.count("stops")
    assert stops >= STOPS and race.count("lost") >= 2 * STOPS
    assert (race.count("lost") + race.count("cut"), race.count("refused")) == (2 * stops, stops)
    assert race.count("ran") == race.count("recorded") == 0 and race.count("ended") == 2
    assert not (Path(target.work_dir) / "stale").exists()


HOLDER = r"""
import json, sys
sys.path.insert(0, {root!r})
from targets.lease import leased
from targets.target import Target
from targets.transports import connect
given = json.loads(sys.argv[1])
target = Target(**{{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}})
with connect(target) as session:
    while True:
        with leased(session, target, holder="doomed") as held:
            print("in", flush=True)
            held.session.run(["sh", "-c", "echo $$ >leader; setsid sh -c 'echo $$ >escaped; exec sleep 300' & " + sys.argv[2], "sh", "0.1"], timeout_s=90)
"""


def test_kill_9_of_the_holder_at_any_moment_lets_the_next_one_in_and_leaves_nothing(
    target: Target, place: Any, is_running: Callable[[int], bool]
) -> None:
    """Its lease would last for 90 seconds more: the device sees that the session has ended."""
    rng = random.Random(5)
    for _ in range(KILLS):
        holder = start(HOLDER.format(root=str(ROOT)), json.dumps(asdict(target)), INSIDE)
        assert holder.stdout and holder.stdout.readline() == "in\n"
        time.sleep(rng.uniform(0, 0.3))
        holder.kill()
        holder.communicate()
        with connect(target) as session, leased(session, replace(target, host="next"), wait_s=60) as held:
            result = held.session.run(["sh", "-c", INSIDE, "sh", "0"], timeout_s=30)
            assert (result.exit_status, result.stdout) == (0, b"in\n")
            for name in ("leader", "escaped"):
                said = held.session.run(["cat", name], timeout_s=30).stdout.strip()
                assert not said or not is_running(int(said))
    with connect(target) as session:
        assert look(session, target).is_free
    left = [path.name for path in place.folder.iterdir()]
    assert len(left) == 1 and place.words()[5] == "free"
