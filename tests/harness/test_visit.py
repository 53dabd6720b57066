"""A block on its device: what is tried again, how often, what of it counts, and when a device is no longer touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import visit
from harness.errors import RunnerError
from harness.executor import Executor
from harness.identity import identify
from harness.plan import Cell, plan
from harness.progress import Terminal
from harness.run import Conductor
from harness.steps import build_step
from harness.suite import Suite
from harness.suite_file import load_suite
from results.quarantine import FAULTS
from results.record import Record
from results.store import Store, open_store
from targets.lease import Busy, LeaseLost
from targets.now import state
from targets.session import CommandFailed, Invalid, Unreachable
from targets.state import Cooling
from targets.target import Target

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("null_backend")]

TARGETS = {"local": Target("local")}
Install = Callable[..., None]
Before = Callable[[Mapping[str, Any]], None]


class Ordeal:
    """Two cells, three launches each, on a device whose every request is seen first."""

    def __init__(self, suite: Suite, cells: tuple[Cell, ...], store: Store, install: Callable[[Before], None]) -> None:
        self.suite, self.cells, self.store, self.install = suite, cells, store, install
        self.asked: list[str] = []

    def run(self, at: Mapping[int, Exception] | None = None, always: Exception | None = None) -> list[Record]:
        """Raise these errors at these requests, counted from 0: two answers first, then six launches; or one always."""
        self.asked.clear()

        def before(request: Mapping[str, Any]) -> None:
            self.asked.append(request["mode"])
            if error := always or (at or {}).get(len(self.asked) - 1):
                raise error

        self.install(before)
        with Executor(1) as executor:
            run = Conductor(self.suite, self.store, executor, Terminal(3, quiet=True)).conduct(self.cells)
        records = [record for _, record in self.store.run_records(run.id) if record is not None]
        assert len(records) == 2
        return records


@pytest.fixture
def new_ordeal(tmp_path: Path, answer_in_process: Install) -> Iterator[Callable[..., Ordeal]]:
    """Of a target, with so many launches, and what else a suite says."""
    with ExitStack() as stack:

        def new(target: Target = TARGETS["local"], launches: int = 3, more: str = "") -> Ordeal:
            (tmp_path / "suite.yaml").write_text(
                "models: [{mlp: {epochs: 1}}]\nmethods: [float32]\nbackends: [{nothing: {index: [1, 2]}}]\n"
                f"sampling: {{launches: {launches}, min_samples: 50, min_s: 0.5, evaluation_size: 64, retries: 1}}\n{more}"
            )
            targets = {"local": target}
            suite = load_suite(str(tmp_path / "suite.yaml"), known_targets=targets)
            cells = plan(suite, targets, identify(suite, targets), lambda _hashes: {})
            cell = cells[0]
            step = build_step(cell.workload, cell.method, cell.backend, cell.target, 1, suite.seed)
            with Executor(1) as executor:
                assert executor.run([step])[step.key] is None
            with np.load(step.needs[0].needs[0].folder / "examples.npz") as stored:
                answers = stored["outputs"]
            store = stack.enter_context(open_store(str(tmp_path / "store.db")))
            return Ordeal(suite, cells, store, lambda before: answer_in_process(answers, before))

        yield new


@pytest.fixture
def ordeal(new_ordeal: Callable[..., Ordeal]) -> Ordeal:
    return new_ordeal()


def test_nothing_happens(ordeal: Ordeal) -> None:
    records = ordeal.run()
    assert ordeal.asked == ["answer"] * 2 + ["time"] * 6
    for record in records:
        device = record.provenance["device"]
        assert record.status == "ok" and record.attempt == 1 and record.provenance["voided"] == []
        assert device["lease"]["token"] and device["control"]["tier"] == "uncontrolled" and device["state_before"]["boot_id"]


@pytest.mark.parametrize("error", [Unreachable("the link is down"), Invalid("throttled"), LeaseLost("another's")])
def test_launches_that_were_found_good_stay_and_the_others_are_made_again(ordeal: Ordeal, error: Exception) -> None:
    """Request 5 is the second launch of the second round; the look between the rounds has found the first round good."""
    records = ordeal.run(at={5: error})
    assert ordeal.asked.count("time") == 4 + 4, "three launches and the lost one; then one round again and the last"
    assert ordeal.asked.count("answer") == 2, "what was right once is not asked again"
    for record in records:
        assert record.status == "ok" and record.attempt == 2
        (voided,) = record.provenance["voided"]
        assert voided["reason"] == str(error) and voided["error_class"] == type(error).__name__


@pytest.mark.parametrize(
    ("error", "status"),
    [(Unreachable("gone"), "unreachable"), (Invalid("hot"), "invalid"), (LeaseLost("another's"), "invalid")],
)
def test_the_budget_ends_with_a_record_a_cell_that_says_why(ordeal: Ordeal, error: Exception, status: str) -> None:
    for record in ordeal.run(always=error):
        assert (record.status, record.reason, record.attempt) == (status, str(error), 2)
        assert "lease" not in record.provenance["device"], "nothing was measured under it"
    assert len(ordeal.asked) == 2


@pytest.mark.parametrize(
    ("error", "status"),
    [(RunnerError("it crashed"), "failed"), (CommandFailed("ENOSPC"), "failed"), (OSError(28, "disk full here"), "invalid")],
)
def test_an_error_of_the_cells_own_is_never_tried_again(ordeal: Ordeal, error: Exception, status: str) -> None:
    """In this run: a disk of ours that was full may have room when the next begins."""
    records = ordeal.run(at={2: error})
    assert sorted(record.status for record in records) == [status, "ok"]
    (failed,) = [record for record in records if record.status == status]
    assert str(error) in (failed.reason or "") and failed.attempt == 1 and ordeal.asked.count("time") == 1 + 3


def test_a_device_in_use_is_no_fault_and_is_not_waited_for_twice(ordeal: Ordeal, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def busy(*_: Any, **__: Any) -> Iterator[Any]:
        raise Busy("in use by a colleague")
        yield

    monkeypatch.setattr(visit, "leased", busy)
    for _ in range(FAULTS):
        assert {(record.status, record.attempt) for record in ordeal.run()} == {("unreachable", 1)}
    assert ordeal.store.quarantined() == {}


def test_a_restart_in_the_middle_voids_what_was_timed_on_two_boots(ordeal: Ordeal, monkeypatch: pytest.MonkeyPatch) -> None:
    boots = ["first"]
    monkeypatch.setattr(visit, "state", lambda session, **options: {**state(session, **options), "boot_id": boots[-1]})
    count = 0

    class Restart(dict[int, Exception]):
        def get(self, key: int, default: Any = None) -> Any:
            nonlocal count
            if key == 6:
                boots.append("second")
            return default

    records = ordeal.run(at=Restart({0: OSError()}))
    assert {record.status for record in records} == {"ok"} and {record.attempt for record in records} == {2}
    assert all("boot id has changed" in record.provenance["voided"][0]["reason"] for record in records)
    assert ordeal.asked.count("time") == 6 + 6, "all on one boot"


def test_a_device_that_is_never_cool_enough_is_not_timed(ordeal: Ordeal, monkeypatch: pytest.MonkeyPatch) -> None:
    hot = Cooling(90.0, 600.0, "soc is at 90 °C, after 600 s of waiting")
    monkeypatch.setattr(visit, "cooled", lambda *_, **__: hot)
    for record in ordeal.run():
        assert record.status == "invalid" and "90 °C" in (record.reason or "")
    assert "time" not in ordeal.asked


def test_a_sick_device_is_not_trusted_with_anything(ordeal: Ordeal, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []

    def check(session: Any, name: str) -> None:
        checked.append(name)
        if len(checked) == 1:
            raise Invalid("its memory errs")

    monkeypatch.setattr(visit, "check_health", check)
    assert {record.status for record in ordeal.run()} == {"ok"} and len(checked) == 2


def test_a_device_is_shut_away_after_three_faulty_visits(ordeal: Ordeal) -> None:
    for _ in range(FAULTS):
        assert {record.status for record in ordeal.run(always=Unreachable("gone"))} == {"unreachable"}
    for record in ordeal.run():
        assert record.status == "unreachable" and "quarantine" in (record.reason or "") and not ordeal.asked
    ordeal.store.release("local", "mended", "t")
    assert {record.status for record in ordeal.run()} == {"ok"}


class Clock:
    """A device's /sys with one clock, whose counters show how it ran."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "devices/system/cpu/cpufreq/policy0"
        (self.folder / "stats").mkdir(parents=True)
        self.put("related_cpus", "0 1")
        self.put("scaling_governor", "ondemand")
        self.put("scaling_available_frequencies", "600000 1500000")
        for name, khz in (("min", 600000), ("max", 1500000)):
            self.put(f"scaling_{name}_freq", str(khz))
            self.put(f"cpuinfo_{name}_freq", str(khz))
        self.put("scaling_cur_freq", "1500000")
        self.spent = {600000: 0, 1500000: 0}

    def put(self, name: str, text: str) -> None:
        (self.folder / name).write_text(f"{text}\n")

    def run(self, khz: int) -> None:
        """For a second."""
        self.spent[khz] += 100
        self.put("stats/time_in_state", "\n".join(f"{step} {spent}" for step, spent in self.spent.items()))

    def settings(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.glob("scaling_*")}


class ThrottledAt(dict[int, Exception]):
    """The clock runs a second a request, and falls to its lowest step at one of them."""

    def __init__(self, clock: Clock, request: int) -> None:
        super().__init__({-1: OSError()})  # a mapping without entries counts for none
        self.clock, self.request = clock, request
        self.pinned: list[bytes] = []

    def get(self, key: int, default: Any = None) -> Any:
        self.clock.run(600000 if key == self.request else 1500000)
        self.pinned.append(self.clock.settings()["scaling_min_freq"])
        return default


def test_throttling_at_the_30th_launch_voids_what_it_touched_and_is_tried_again(
    new_ordeal: Callable[..., Ordeal], tmp_path: Path
) -> None:
    clock = Clock(tmp_path / "sys")
    clock.run(1500000)
    before = clock.settings()
    device = Target("local", sysfs=str(tmp_path / "sys"), host="a board")
    ordeal = new_ordeal(device, 20, "operating_points: {frequency_hz: 1500000000}\n")
    throttled = ThrottledAt(clock, 2 + 29)
    records = ordeal.run(at=throttled)
    for record in records:
        (voided,) = record.provenance["voided"]
        assert record.status == "ok" and record.attempt == 2
        assert voided["error_class"] == "Invalid" and "throttled: policy0 was below the 1500 MHz" in voided["reason"]
        assert len(np.unique(record.measurement("latency").samples.launch)) == 20  # type: ignore[union-attr]
        assert record.provenance["device"]["control"]["tier"] == "pinned"
    # The look before the 29th launch found all well: from there on it is done again, and nothing else.
    assert ordeal.asked == ["answer"] * 2 + ["time"] * 30 + ["time"] * (40 - 28)
    assert set(throttled.pinned[2:]) == {b"1500000\n"} and clock.settings() == before


def test_a_device_that_throttles_for_ever_is_invalid_and_as_it_was(new_ordeal: Callable[..., Ordeal], tmp_path: Path) -> None:
    clock = Clock(tmp_path / "sys")
    clock.run(1500000)
    before = clock.settings()

    class Throttled(ThrottledAt):
        def get(self, key: int, default: Any = None) -> Any:
            self.request = key
            return super().get(key, default)

    device = Target("local", sysfs=str(tmp_path / "sys"), host="a board")
    ordeal = new_ordeal(device, 3, "operating_points: {frequency_hz: 1500000000}\n")
    for record in ordeal.run(at=Throttled(clock, 0)):
        assert record.status == "invalid" and "throttled" in (record.reason or "") and not record.measurements
    assert clock.settings() == before
