"""The noise floor of a device: what two identical programs differ by there (A/A), and whether a known load takes the time that it must.

The load is a recurrence of known result, one step after another (`kernels/known_load.c`), built for the device by the compiler that builds
networks. Its launches are A, B, B, A and so on: the order can favour neither. Between them runs half of the load, which must take half the time.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from harness.artifact import file_sha256
from harness.errors import RunnerError
from harness.provenance import now
from harness.toolchain import compiled
from results import stats
from results.record import Samples
from targets.data import data_root
from targets.session import Session
from targets.target import Target

SOURCE = Path(__file__).parent / "kernels" / "known_load.c"
SAMPLES = 9
SAMPLE_S = 0.01
"""Of a launch, as the runner would take them, and how long the whole load is in each at least, on the device's own clock."""
LEAST_PAIRS = 6
FIRST_STEPS = 1 << 20
MOST_STEPS = 1 << 40
TIMEOUT_S = 60.0
MOST_STEADY = 0.02
"""A floor above it, or a load off its time by more, is worth mending: `assay compare` tells no smaller change anyhow."""
_ANSWER = TypeAdapter(dict[str, int | list[float]])
Launches = Sequence[Sequence[float]]
"""Samples of each launch, in seconds."""
_FACTOR, _ADDEND, _MODULUS = 6364136223846793005, 1442695040888963407, 1 << 64


@dataclass(frozen=True, slots=True)
class Noise:
    """What an A/A on a device told."""

    floor: float
    """Relative: identical programs may differ by so much here. The far end of the interval of their ratio, at least `stats.MINIMUM_EFFECT`."""
    ratio: float
    low: float
    high: float
    """Time of A over time of B, and its 95 % interval."""
    pairs: int
    """Of launches."""
    steps_hz: float
    """Steps of the known load in a second."""
    scaling: float
    scaling_low: float
    scaling_high: float
    """Time of the whole load over that of half of it, which is 2, and its 95 % interval."""
    taken: str
    """UTC, ISO 8601."""

    @property
    def scales(self) -> bool:
        """Whether twice the work may take twice the time there, within MOST_STEADY."""
        return self.scaling_low <= 2 * (1 + MOST_STEADY) and self.scaling_high >= 2 * (1 - MOST_STEADY)


def measured_noise(session: Session, target: Target, seconds: float) -> Noise:
    """An A/A of so many seconds, and of LEAST_PAIRS. The device must be ours alone, and its host quiet.

    Unsupported or BuildError where no program can be built for it, RunnerError where it computes the load wrongly.
    """
    program = compiled([SOURCE], target)
    name = f"programs/{file_sha256(program)[:32]}/known_load"
    session.push(program, name)

    def timed(steps: int) -> list[float]:
        return _seconds(session, name, steps)

    steps = FIRST_STEPS
    while min(timed(steps)) < SAMPLE_S and steps < MOST_STEPS:
        steps *= 2
    one, other, half = list[list[float]](), list[list[float]](), list[list[float]]()
    begin = time.monotonic()
    while len(one) < LEAST_PAIRS or len(one) % 2 or time.monotonic() - begin < seconds:
        for group in (one, other) if len(one) % 2 == 0 else (other, one):
            group.append(timed(steps))
        half.append(timed(steps // 2))
    return judged(one, other, half, steps)


def judged(one: Launches, other: Launches, half: Launches, steps: int) -> Noise:
    """What the launches tell: two groups of so many steps a sample, one of half as many."""
    equal, scaling = (stats.ratio(_launches(one), _launches(group), paired=True) for group in (other, half))
    assert equal.low is not None and equal.high is not None and scaling.low is not None and scaling.high is not None
    floor = max(stats.MINIMUM_EFFECT, equal.high - 1, 1 / equal.low - 1)
    rate = steps / stats.median_interval(_launches([*one, *other])).estimate
    ends = equal.estimate, equal.low, equal.high, len(one), rate, scaling.estimate, scaling.low, scaling.high
    return Noise(floor, *ends, now())


def keep(machine_key: str, noise: Noise) -> Path:
    """The newest is what counts: a machine that has become quieter has a lower floor."""
    file = _file(machine_key)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".part")
    temporary.write_text(json.dumps(dataclasses.asdict(noise), indent=1) + "\n")
    temporary.replace(file)
    return file


def known(machine_key: str) -> dict[str, Any] | None:
    """What the last A/A on a machine told, as a record keeps it; None where there was none."""
    file = _file(machine_key)
    found: dict[str, Any] | None = json.loads(file.read_text()) if file.is_file() else None
    return found


def answer(steps: int) -> int:
    """Of the load: x after so many steps, by doubling (two steps are one with the factor squared)."""
    x, factor, addend = 0, _FACTOR, _ADDEND
    while steps:
        if steps & 1:
            x = (x * factor + addend) % _MODULUS
        factor, addend = factor * factor % _MODULUS, (factor * addend + addend) % _MODULUS
        steps >>= 1
    return x


def _seconds(session: Session, name: str, steps: int) -> list[float]:
    """Of each sample of one launch."""
    ended = session.run([f"./{name}", str(steps), str(SAMPLES)], timeout_s=TIMEOUT_S, max_output_bytes=4096)
    try:
        found = _ANSWER.validate_python(json.loads(ended.stdout))
        seconds, said = found["seconds"], found["answer"]
    except (ValueError, ValidationError, KeyError) as error:
        quoted = (ended.stderr or ended.stdout)[-200:].decode("utf-8", "replace")
        raise RunnerError(f"the known load ended with {ended.exit_status} and said {quoted!r}") from error
    if said != answer(steps * SAMPLES):
        raise RunnerError(f"the device computes wrongly: {steps * SAMPLES} steps of the known load gave {said}")
    if not isinstance(seconds, list) or len(seconds) != SAMPLES or min(seconds) <= 0:
        raise RunnerError(f"the known load took {seconds}: {SAMPLES} times above 0 were expected")
    return seconds


def _launches(launches: Launches) -> Samples:
    numbers = np.repeat(np.arange(len(launches), dtype=np.uint16), [len(launch) for launch in launches])
    return dataclasses.replace(Samples.of([value for launch in launches for value in launch]), launch=numbers)


def _file(machine_key: str) -> Path:
    return data_root() / "noise" / f"{machine_key}.json"
