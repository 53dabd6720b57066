"""What the sampler of sensors costs whoever is timed beside it: A/A with and without it, interleaved.

`nox -s bench` runs it in full and prints the figures of docs/measurement.md; nothing is asserted about time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from targets.power.sampled import Readings, sampled
from targets.power.trace import NoTrace
from targets.session import Session
from targets.target import Target
from targets.transports import connect

RATE_HZ = 20.0
"""That of `rapl` and `hwmon` where an inventory says nothing else."""
ARMS = ("nothing", "nothing again", "python", "shell")
WORK = np.random.default_rng(0).standard_normal((192, 192)).astype(np.float32)


@pytest.fixture(params=["any_core", "one_core"])
def cores(request: pytest.FixtureRequest) -> Iterator[str]:
    """On one core the sampler takes its time from what is timed."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, allowed if request.param == "any_core" else {max(allowed)})
    yield request.param
    os.sched_setaffinity(0, allowed)


def test_what_the_sampler_costs(cores: str, benchmark: Any, tmp_path: Path) -> None:
    sensor = tmp_path / "power1_input"
    sensor.write_text("20000000\n")
    rounds, seconds = (20, 1.0) if benchmark.enabled else (1, 0.05)
    readings: list[int] = []

    def counted(found: Readings) -> NoTrace:
        readings.append(len(found.time_s))
        return NoTrace("made by the test")

    def beside(arm: str, session: Session) -> AbstractContextManager[Any]:
        return nullcontext() if arm.startswith("nothing") else sampled(session, [str(sensor)], RATE_HZ, counted)

    def all_rounds() -> npt.NDArray[np.float64]:
        """[rounds, arms, 2] median and mean seconds of a piece of work."""
        found = np.empty((rounds, len(ARMS), 2))
        rng = np.random.default_rng(7)
        with connect(Target("local")) as python, connect(Target("local", python="none")) as shell:
            for number in range(rounds):
                for place in rng.permutation(len(ARMS)):
                    with beside(ARMS[place], shell if ARMS[place] == "shell" else python):
                        time.sleep(0.2)  # it has begun, and what begins it has ended
                        pieces_s = timed(seconds)
                    found[number, place] = np.median(pieces_s), pieces_s.mean()
        return found

    found = benchmark.pedantic(all_rounds, rounds=1)
    assert len(readings) == 2 * rounds and (found > 0).all()
    if benchmark.enabled:
        print(
            f"\n{cores}: {rounds} rounds of {seconds:g} s, {1e3 * np.median(found[:, 0, 0]):.3f} ms a piece, {RATE_HZ:g} readings a second"
        )
        for place, arm in enumerate(ARMS[1:], 1):
            for which, name in enumerate(("median", "mean")):
                change = np.log(found[:, place, which] / found[:, 0, which])
                half = stats.t.ppf(0.975, rounds - 1) * change.std(ddof=1) / np.sqrt(rounds)
                print(
                    f"  {arm:14} {name:6} {np.expm1(change.mean()):+.2%} ({np.expm1(change.mean() - half):+.2%} to {np.expm1(change.mean() + half):+.2%})"
                )


def timed(seconds: float) -> npt.NDArray[np.float64]:
    """Of each piece of work, for as long."""
    pieces_s: list[float] = []
    end_s = time.monotonic() + seconds
    while (begin_s := time.monotonic()) < end_s:
        for _ in range(4):
            WORK @ WORK
        pieces_s.append(time.monotonic() - begin_s)
    return np.array(pieces_s)
