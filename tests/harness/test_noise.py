"""The noise floor: what an A/A tells of made-up launches, and of this machine through the real program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import noise
from harness.errors import RunnerError
from harness.noise import Launches, answer, judged, keep, known, measured_noise
from results import stats
from targets.target import Target
from targets.transports import connect


def launches(rng: np.random.Generator, spread: float, count: int, seconds: float = 0.01) -> Launches:
    medians = seconds * np.exp(rng.normal(0, spread, count))
    return [[float(median)] * 3 for median in medians]


def test_the_answer_is_that_of_step_by_step() -> None:
    x = 0
    for steps in range(1, 200):
        x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
        assert answer(steps) == x


def test_the_floor_is_the_far_end_of_the_interval_and_never_below_the_minimum_effect() -> None:
    rng = np.random.default_rng(0)
    noisy = judged(launches(rng, 0.05, 8), launches(rng, 0.05, 8), launches(rng, 0.05, 8, 0.005), 1000)
    assert noisy.floor == max(noisy.high - 1, 1 / noisy.low - 1) > 0.02
    still = judged(launches(rng, 0, 8), launches(rng, 0, 8), launches(rng, 0, 8, 0.005), 1000)
    assert still.floor == stats.MINIMUM_EFFECT and still.scaling == pytest.approx(2.0) and still.scales
    assert still.steps_hz == pytest.approx(1e5)


def test_a_load_that_does_not_scale_is_noticed() -> None:
    """A device whose clock is lowered while it works: half of the work takes less than half of the time."""
    rng = np.random.default_rng(1)
    found = judged(launches(rng, 0.001, 8), launches(rng, 0.001, 8), launches(rng, 0.001, 8, 0.0045), 1000)
    assert not found.scales


def test_an_a_a_holds_its_own_floor() -> None:
    """Of 200 devices, 19 in 20 do not differ from themselves by more than the floor that an A/A before told."""
    rng = np.random.default_rng(2)
    within = 0
    for _ in range(200):
        floor = judged(launches(rng, 0.01, 10), launches(rng, 0.01, 10), launches(rng, 0.01, 10, 0.005), 1).floor
        again = judged(launches(rng, 0.01, 10), launches(rng, 0.01, 10), launches(rng, 0.01, 10, 0.005), 1).ratio
        within += abs(np.log(again)) <= np.log1p(floor)
    assert within >= 190


def test_the_newest_floor_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    rng = np.random.default_rng(3)
    assert known("key") is None
    for spread in (0.05, 0.0):
        keep("key", judged(launches(rng, spread, 6), launches(rng, spread, 6), launches(rng, spread, 6), 1))
    found = known("key")
    assert found is not None and found["floor"] == stats.MINIMUM_EFFECT and known("other") is None


@pytest.mark.toolchain
def test_this_machine_has_a_floor(tmp_path: Path, compiler_cache: None) -> None:
    target = Target("desk", work_dir=str(tmp_path / "desk"))
    with connect(target) as session:
        found = measured_noise(session, target, 0.0)
    assert found.pairs >= noise.LEAST_PAIRS and found.low <= found.ratio <= found.high
    assert found.floor >= stats.MINIMUM_EFFECT and found.steps_hz > 1e6


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ('{"answer": 1, "seconds": [1, 1, 1, 1, 1, 1, 1, 1, 1]}', "computes wrongly"),
        ('{"answer": many}', "many"),
        ("", "ended with 0"),
    ],
)
def test_a_device_that_computes_wrongly_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, told: str
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(noise, "compiled", lambda _sources, _target: program)
    target = Target("desk", work_dir=str(tmp_path / "desk"))
    with connect(target) as session, pytest.raises(RunnerError, match=told):
        measured_noise(session, target, 0.0)
