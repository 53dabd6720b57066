"""The energy of an inference, from sensors of known power: windows, idle, the best meter, and every way in which there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from peers.power import Counter, Files, PowerTree, Reading, Wave

from harness import energy as module
from harness.energy import Spent, spent
from harness.errors import RunnerError
from harness.measure import Launch
from harness.runners.reply import Document
from harness.suite import Sampling
from results.record import Measurement
from targets.power import integrate
from targets.power.work import Work
from targets.session import Session, Unreachable
from targets.target import Target
from targets.transports import connect

PACKAGE, BOARD = Wave(12.0, 4.0, 0.2), Wave(20.0)
TREE: Files = {
    "class/powercap/intel-rapl:0/name": "package-0",
    "class/powercap/intel-rapl:0/max_energy_range_uj": "4999999",
    "class/powercap/intel-rapl:0/energy_uj": Counter(PACKAGE, modulus=5_000_000),
    "class/hwmon/hwmon2/name": "ina226",
    "class/hwmon/hwmon2/power1_input": Reading(BOARD),
}
WORK = Work(1e6, 4e5, 1000.0, "int8")
SAMPLING = Sampling(energy_s=1.0, energy_windows=2, idle_s=0.5)
QUICK = Sampling(energy_s=0.5, energy_windows=1, idle_s=0.0)


@pytest.fixture(autouse=True)
def short_windows_of_a_busy_machine_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_S", 0.2)
    monkeypatch.setattr(integrate, "MOST_SYNC", 1.0)
    monkeypatch.setattr(integrate, "MOST_UNCERTAIN", 1.0)


@pytest.fixture
def session() -> Iterator[Session]:
    with connect(Target("local")) as found:
        yield found


def launch(sampling: Sampling, clock: str = "CLOCK_MONOTONIC") -> Launch:
    """Loops for as long as it is told, warm-up first: 100 inferences a sample."""
    before_s = time.monotonic()
    first_ns, rows = time.monotonic_ns(), list[tuple[int, int, int, bool]]()
    while not rows or time.monotonic() - before_s < sampling.min_s + 0.1:
        begin_ns = time.monotonic_ns() - first_ns
        time.sleep(0.01)
        rows.append((begin_ns, time.monotonic_ns() - first_ns - begin_ns, 100, time.monotonic() - before_s > 0.1))
    names = ("start_ns", "duration_ns", "loops", "timed")
    process = {
        "cpu_s": 0.0, "voluntary_switches": 0, "involuntary_switches": 0, "minor_faults": 0, "major_faults": 0, "affinity": None,
    }  # fmt: skip
    document = {
        "schema": 1, "nonce": "n", "mode": "time", "load_s": 0.001, "facts": {}, "versions": {},
        "clock": {"name": clock, "step_s": 1e-9}, "runner": {"implementation": "made up", "version": "1"},
        "memory": {"rss_before_load_bytes": 1, "rss_after_load_bytes": 1, "peak_rss_bytes": 1},
        "outputs": [{"file": "o", "size_bytes": 1, "tensors": [{"shape": [1], "dtype": "<f4", "quantization": None}]}],
        "samples": {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)},
        "warmup": {"samples": 5, "seconds": 0.1, "capped": False, "least_sample_s": 0.005},
        "process_before": process, "process_after": process,
        **{f"state_{when}": {"monotonic_s": at_s, "frequency_hz": None, "celsius": None, "reason": "made up"}
           for when, at_s in (("before", before_s), ("after", time.monotonic()))},
    }  # fmt: skip
    return Launch(Document.model_validate(document), b"", 0.0)


def of(found: Spent, metric: str) -> Measurement:
    return next(m for m in found.measurements if m.metric == metric)


def test_the_best_meter_tells_and_the_others_stand_beside_it(session: Session, power_tree: PowerTree) -> None:
    target = Target("bench", meters=("rapl", 'hwmon {"rate_hz": 50}', "energy_model"), sysfs=str(power_tree(TREE)))
    found = spent(session, target, SAMPLING, WORK, launch)
    facts = found.provenance["energy"]
    assert (facts["meter"], facts["tier"], facts["rate_hz"], facts["silent"]) == ("hwmon", "T3", 50.0, {})
    assert facts["idle_w"] == pytest.approx(20.0) and {"arithmetic_j", "weights_j"} < set(facts["models"]["energy_model"])
    energy = of(found, "energy")
    assert (energy.unit, energy.origin, energy.flags, energy.clock) == ("J", "measured", ("short",), "CLOCK_MONOTONIC")
    assert energy.samples is not None and energy.samples.launch.tolist() == [0, 1] and energy.samples.start_s[1] > 1.0
    for joules, window in zip(energy.samples.value, facts["windows"], strict=True):
        assert window["end_s"] - window["begin_s"] >= 0.9 and window["inferences"] % 100 == 0
        assert joules * window["inferences"] == pytest.approx(20.0 * (window["end_s"] - window["begin_s"]), rel=1e-6)
    net = of(found, "energy_net").samples
    assert net is not None and np.abs(net.value).max() < 1e-9, "it draws no more than when idle"
    for metric in ("power", "peak_power"):
        samples = of(found, metric).samples
        assert samples is not None and samples.value == pytest.approx([20.0, 20.0])
    for window in facts["others"]["rapl"]["windows"]:
        truth = PACKAGE.joules(window["begin_s"], window["end_s"])
        late_j = 0.05 * 16.0  # what a busy machine may write late; a round of the counter that is missed is 5 J
        assert abs(window["joules"] - truth) <= max(0.01 * truth, window["uncertainty_j"]) + late_j

    trace = of(found, "power_trace").samples
    assert trace is not None and trace.value == pytest.approx(20.0) and (np.diff(trace.start_s) >= 0).all()
    lasted = [trace.start_s[(trace.launch == index) & trace.timed] for index in (0, 1)]
    assert all(part[-1] - part[0] > 0.7 for part in lasted) and not trace.timed[0] and not trace.timed[-1]


def test_a_meter_that_is_silent_is_null_with_the_reason_and_the_others_are_heard(
    session: Session, power_tree: PowerTree, tmp_path: Path
) -> None:
    def never(_: Sampling) -> Launch:
        raise AssertionError("nothing is run where nothing can be measured")

    nothing = spent(session, Target("bench", meters=("rapl", "hwmon"), sysfs=str(tmp_path)), SAMPLING, WORK, never)
    (energy,) = nothing.measurements
    assert energy.samples is None and "no counters of the CPU's energy" in (energy.reason or "")
    assert set(nothing.provenance["energy"]["silent"]) == {"rapl", "hwmon"}
    only_rapl = {name: value for name, value in TREE.items() if "powercap" in name}
    heard = spent(session, Target("bench", meters=("hwmon", "rapl"), sysfs=str(power_tree(only_rapl))), QUICK, WORK, launch)
    facts = heard.provenance["energy"]
    assert facts["meter"] == "rapl" and "no chip that measures power" in facts["silent"]["hwmon"]


def test_no_idle_time_is_gross_energy_alone(session: Session, power_tree: PowerTree) -> None:
    target = Target("bench", meters=("hwmon",), sysfs=str(power_tree(TREE)))
    found = spent(session, target, QUICK, WORK, launch)
    assert of(found, "energy").samples is not None
    assert "no idle time" in (of(found, "energy_net").reason or "")


@pytest.mark.parametrize(
    ("target", "sampling", "said"),
    [
        (Target("bench"), SAMPLING, "target `bench` has no meter"),
        (Target("bench", meters=("rapl",)), Sampling(), "set `energy_s`"),
        (Target("bench", meters=("rapl",), origin="emulated", counts_instructions=True), SAMPLING, "tells no time"),
    ],
    ids=["no_meter", "not_asked", "no_time"],
)
def test_what_is_not_measured_says_why(session: Session, target: Target, sampling: Sampling, said: str) -> None:
    (energy,) = spent(session, target, sampling, WORK, launch).measurements
    assert energy.samples is None and said in (energy.reason or "")


def test_a_window_that_cannot_be_trusted_does_not_count(session: Session, power_tree: PowerTree) -> None:
    target = Target("bench", meters=('hwmon {"range_w": [0, 19]}',), sysfs=str(power_tree(TREE)))
    found = spent(session, target, QUICK, WORK, launch)
    (energy,) = found.measurements
    assert energy.samples is None and "limit of its range" in (energy.reason or "")
    assert found.provenance["energy"]["flags"] == ["clipped", "short"]


def test_a_runner_that_fails_costs_the_energy_alone_and_a_lost_device_all(session: Session, power_tree: PowerTree) -> None:
    target = Target("bench", meters=("hwmon",), sysfs=str(power_tree(TREE)))

    def failing(error: Exception) -> Callable[[Sampling], Launch]:
        def fail(_: Sampling) -> Launch:
            raise error

        return fail

    (energy,) = spent(session, target, QUICK, WORK, failing(RunnerError("out of memory"))).measurements
    assert energy.samples is None and "out of memory" in (energy.reason or "")
    (energy,) = spent(session, target, QUICK, WORK, lambda sampling: launch(sampling, "ticks")).measurements
    assert energy.samples is None and "times by ticks" in (energy.reason or "")
    with pytest.raises(Unreachable):
        spent(session, target, QUICK, WORK, failing(Unreachable("gone")))


def test_a_model_alone_is_estimated_without_a_launch(session: Session) -> None:
    def never(_: Sampling) -> Launch:
        raise AssertionError("an estimate needs no run")

    found = spent(session, Target("bench", meters=("energy_model",)), Sampling(), WORK, never)
    (energy,) = found.measurements
    assert energy.origin == "estimated" and energy.samples is not None
    # 1e6 MACs of 0.3 pJ, two operands of 8 bits each from 5 pJ / 32 bits, and 1000 bytes from 640 pJ / 32 bits
    assert energy.samples.value.tolist() == [pytest.approx(1e6 * 0.3e-12 + 1e6 * 2.5e-12 + 8000 * 20e-12)]
    assert found.provenance["energy"]["origin"] == "estimated"
