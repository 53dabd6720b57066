"""The run loop: every planned cell leaves one record, whatever happens to the device; launches are interleaved, durable and adopted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.executor import Executor
from harness.identity import identify
from harness.plan import Cell, Done, plan
from harness.progress import Terminal
from harness.run import Conductor
from harness.steps import build_step
from harness.suite import Suite
from harness.suite_file import load_suite
from results.record import Record
from results.store import Store, open_store
from targets.session import Unreachable
from targets.target import Target

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("null_backend")]

TARGETS = {"local": Target("local")}
Install = Callable[..., None]


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    (tmp_path / "suite.yaml").write_text(
        "models: [{mlp: {epochs: 1}}]\nmethods: [float32]\nbackends: [{nothing: {index: [1, 2, 3]}}]\n"
        "sampling: {launches: 3, min_samples: 50, min_s: 0.5, evaluation_size: 64}\n"
    )
    return load_suite(str(tmp_path / "suite.yaml"), known_targets={"local": Target("local")})


@pytest.fixture
def reference(suite: Suite) -> np.ndarray:
    """[64, 10] what the network answers; made before a run, since a run's own device is made up."""
    cell = planned(suite)[0]
    step = build_step(cell.workload, cell.method, cell.backend, cell.target, 1, suite.seed)
    with Executor(1) as executor:
        assert executor.run([step])[step.key] is None
    with np.load(step.needs[0].needs[0].folder / "examples.npz") as stored:
        answers: np.ndarray = stored["outputs"]
    return answers


def planned(suite: Suite, store: Store | None = None) -> tuple[Cell, ...]:
    def done(hashes: Sequence[str]) -> Mapping[str, Done]:
        return {} if store is None else {k: Done(r, s) for k, (r, s) in store.finished_cells(hashes).items()}

    return plan(suite, TARGETS, identify(suite, TARGETS), done)


def conduct(suite: Suite, store: Store) -> list[Record]:
    with Executor(1) as executor:
        run = Conductor(suite, store, executor, Terminal(3, quiet=True)).conduct(planned(suite, store))
    records = [record for _, record in store.run_records(run.id)]
    assert len(records) == 3 and all(records)
    return [record for record in records if record is not None]


def test_launches_are_interleaved_in_a_seeded_random_order(
    suite: Suite, reference: np.ndarray, answer_in_process: Install, tmp_path: Path
) -> None:
    orders = []
    for number in range(2):
        asked: list[str] = []
        answer_in_process(
            reference, lambda request, asked=asked: asked.append(request["folder"] if request["mode"] == "time" else "")
        )
        with open_store(str(tmp_path / f"{number}.db")) as store:
            records = conduct(suite, store)
        timed = [folder for folder in asked if folder]
        assert [len(set(timed[start : start + 3])) for start in (0, 3, 6)] == [3, 3, 3], "a round has each cell once"
        orders.append(timed)
    assert orders[0] == orders[1], "the order comes from the suite's seed"
    assert orders[0] != sorted(orders[0][:3]) * 3
    for record in records:
        latency, top1 = record.measurement("latency"), record.measurement("top1")
        assert latency is not None and latency.samples is not None and top1 is not None and top1.samples is not None
        assert latency.samples.timed.sum() == 150 and len(top1.samples) == 64
        assert record.provenance["check"]["passed"] and record.provenance["device"]["state_after"]
        assert record.provenance["artifact"]["sha256"] and record.machine_key


def test_a_device_that_goes_away_leaves_a_record_a_cell_and_is_tried_again(
    suite: Suite, reference: np.ndarray, answer_in_process: Install, tmp_path: Path
) -> None:
    asked = 0

    def goes_away(_request: Mapping[str, Any]) -> None:
        nonlocal asked
        asked += 1
        if asked > 5:  # three checks, two launches
            raise Unreachable("the link is down")

    with open_store(str(tmp_path / "s.db")) as store:
        answer_in_process(reference, goes_away)
        records = conduct(suite, store)
        assert {record.status for record in records} == {"unreachable"}
        assert all(record.reason == "the link is down" and not record.measurements for record in records)
        answer_in_process(reference)
        assert {record.status for record in conduct(suite, store)} == {"ok"}
        assert {cell.verdict for cell in planned(suite, store)} == {"cached"}


def test_a_wrong_answer_has_no_latency(suite: Suite, reference: np.ndarray, answer_in_process: Install, tmp_path: Path) -> None:
    answer_in_process(reference + 1)
    with open_store(str(tmp_path / "s.db")) as store:
        for record in conduct(suite, store):
            assert record.status == "wrong" and "largest error" in (record.reason or "") and not record.measurements
            assert record.provenance["check"]["max_abs_error"] == pytest.approx(1, abs=1e-4)


def test_launches_of_a_killed_run_are_adopted_and_not_made_again(
    suite: Suite, reference: np.ndarray, answer_in_process: Install, tmp_path: Path
) -> None:
    class Killed(BaseException):
        """Stands for the end of the process: nothing in the loop may catch it."""

    made = 0

    def killed_after_four_launches(request: Mapping[str, Any]) -> None:
        nonlocal made
        made += request["mode"] == "time"
        if made == 5:
            raise Killed

    with open_store(str(tmp_path / "s.db")) as store:
        answer_in_process(reference, killed_after_four_launches)
        with pytest.raises(Killed), Executor(1) as executor:
            Conductor(suite, store, executor, Terminal(3, quiet=True)).conduct(planned(suite))
        again: list[str] = []
        answer_in_process(reference, lambda request: again.append(request["mode"]))
        records = conduct(suite, store)
        assert again.count("time") == 9 - 4
        for record in records:
            latency = record.measurement("latency")
            assert latency is not None and latency.samples is not None
            assert sorted(set(latency.samples.launch.tolist())) == [0, 1, 2]
        assert all(not store.launches(run.id, record.input_hash) for run in store.runs() for record in records)


def test_a_block_that_cannot_be_built_leaves_failed_records_with_the_log(
    suite: Suite, answer_in_process: Install, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(own_cache))  # which lacks what other tests built
    plugin = tmp_path / "plugins" / "backends" / "nothing.py"
    plugin.write_text(
        plugin.read_text().replace(
            "from harness.artifact", "print('said before'); raise OSError('no compiler')\n        from harness.artifact"
        )
    )
    with open_store(str(tmp_path / "s.db")) as store:
        for record in conduct(suite, store):
            assert record.status == "failed" and record.error_class == "OSError" and "no compiler" in (record.reason or "")
            assert "said before" in record.provenance["logs"]["tail"]


def test_devices_of_different_hosts_are_measured_at_once_and_those_of_one_host_in_turn(
    reference: np.ndarray, answer_in_process: Install, tmp_path: Path
) -> None:
    """The first launch on one host waits for the first on the other; never are two at work on one host."""
    targets = {
        name: Target(name, host=host, work_dir=str(tmp_path / name), lease_dir=str(tmp_path / f"{name}.lease"))
        for name, host in (("a", "desk"), ("b", "shelf"), ("c", "desk"))
    }
    text = (tmp_path / "suite.yaml").read_text() + "targets: [a, b, c]\n"
    (tmp_path / "suite.yaml").write_text(text)
    suite = load_suite(str(tmp_path / "suite.yaml"), known_targets=targets)
    meeting, met, working = threading.Barrier(2), set[str](), list[str]()

    def before(request: Mapping[str, Any]) -> None:
        host = threading.current_thread().name
        assert host not in working
        working.append(host)
        if request["mode"] == "time" and host not in met:
            met.add(host)
            meeting.wait(300)
        working.remove(host)

    answer_in_process(reference, before)
    threads = set(threading.enumerate())
    with open_store(str(tmp_path / "s.db")) as store, Executor(1) as executor:
        cells = plan(suite, targets, identify(suite, targets), lambda _hashes: {})
        run = Conductor(suite, store, executor, Terminal(3, quiet=True)).conduct(cells)
        records = [record for _, record in store.run_records(run.id) if record is not None]
    assert len(records) == 9 and {record.status for record in records} == {"ok"} and met == {"desk", "shelf"}
    assert set(threading.enumerate()) <= threads


def test_one_device_that_is_gone_does_not_keep_the_others_from_their_records(
    reference: np.ndarray, answer_in_process: Install, tmp_path: Path
) -> None:
    targets = {
        name: Target(name, host=name, work_dir=str(tmp_path / name), lease_dir=str(tmp_path / f"{name}.lease"))
        for name in ("a", "b")
    }
    (tmp_path / "suite.yaml").write_text((tmp_path / "suite.yaml").read_text() + "targets: [a, b]\n")
    suite = load_suite(str(tmp_path / "suite.yaml"), known_targets=targets)

    def before(_request: Mapping[str, Any]) -> None:
        if threading.current_thread().name == "a":
            raise Unreachable("unplugged")

    answer_in_process(reference, before)
    with open_store(str(tmp_path / "s.db")) as store, Executor(1) as executor:
        cells = plan(suite, targets, identify(suite, targets), lambda _hashes: {})
        run = Conductor(suite, store, executor, Terminal(3, quiet=True)).conduct(cells)
        ended = {(record.axes.target, record.status) for _, record in store.run_records(run.id) if record is not None}
    assert ended == {("a", "unreachable"), ("b", "ok")}
