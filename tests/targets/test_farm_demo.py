"""The farm demo, reduced: one matrix on every kind of device at once, each a real peer, in one run and on one page."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from harness.executor import Executor
from harness.identity import identify
from harness.plan import Cell, plan
from harness.progress import Terminal
from harness.run import Conductor
from harness.suite_file import load_suite
from reports.report import write_report
from results.record import Record
from results.store import open_store
from targets.target import Target

DESK, EMULATED = ("local", "desk-ssh", "desk-adb"), ("arm-qemu", "board-ssh", "board-adb")
REDUCED = """\
extends: farm_demo
models: [{mlp: {epochs: 1}}]
methods: [float32, int8_ptq]
backends: [onnxruntime, native]
exclude: [{backend: native, target: [local, desk-*]}]    # to build for one CPU is enough here
sampling: {launches: 2, warmup_samples: 1, warmup_s: 0, min_samples: 3, min_s: 0.02, evaluation_size: 64}
tables: [{name: devices, rows: [method], columns: [target, backend], metrics: [latency, speedup]}]
figures: []
"""


@dataclass
class Watcher(Terminal):
    """When something was done at each place: (seconds, place, what); nothing more of a place is told by an empty text."""

    seen: list[tuple[float, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(2, quiet=True)

    def phase(self, place: str, text: str) -> None:
        self.seen.append((time.monotonic(), place, text))

    def visit(self, place: str) -> tuple[float, float]:
        times = [at for at, its, _ in self.seen if its == place]
        return times[0], times[-1]


@pytest.fixture
def farm(
    ssh_target: Callable[..., Target],
    adb_target: Callable[..., Target],
    sshd: Any,
    make_adbd: Callable[..., Any],
    qemu_target: Target,
    board_target: Target,
    board_adb_target: Target,
    tmp_path: Path,
) -> dict[str, Target]:
    """As if these were four machines: nothing here is timed to be believed, and devices of different hosts work at once."""
    targets = (
        Target("local", work_dir=str(tmp_path / "local")),
        replace(ssh_target(sshd), name="desk-ssh", host="desk", work_dir=str(tmp_path / "ssh")),
        replace(adb_target(make_adbd()), name="desk-adb", host="desk", work_dir=str(tmp_path / "adb")),
        replace(qemu_target, name="arm-qemu", host="rack", work_dir=str(tmp_path / "qemu"), lease_dir=str(tmp_path / "rack")),
        replace(board_target, name="board-ssh", host="board"),
        replace(board_adb_target, name="board-adb", host="board"),
    )
    return {target.name: target for target in targets}


@pytest.mark.peers
@pytest.mark.usefixtures("compiler_cache")
def test_one_run_measures_every_kind_of_device_and_its_page_tells_them_apart(farm: dict[str, Target], tmp_path: Path) -> None:
    (tmp_path / "farm.yaml").write_text(REDUCED)
    suite = load_suite(str(tmp_path / "farm.yaml"), known_targets=farm)
    cells = plan(suite, farm, identify(suite, farm), lambda _hashes: {})
    watcher = Watcher()
    with open_store(str(tmp_path / "s.db")) as store, Executor(2) as executor:
        run = Conductor(suite, store, executor, watcher).conduct(cells)
        records = [record for _, record in store.run_records(run.id) if record is not None]
        index = write_report(store.run(run.id), records, tmp_path / "out")

    check_statuses(cells, records)
    ok = [record for record in records if record.status == "ok"]
    for record in ok:
        origin = "emulated" if record.axes.target in EMULATED else "measured"
        assert {m.origin for m in record.measurements if m.metric in ("latency", "top1")} == {origin}
        assert record.provenance["device"]["lease"]["token"] > 0
        assert record.provenance["device"]["control"]["tier"] == "uncontrolled" or origin == "measured"
    right = {(record.axes.method, record.axes.backend, correct(record)) for record in ok}
    assert len(right) == 2 * 2, "every device gives the same answers: one accuracy for each method on each backend"

    qemu, board_ssh, board_adb = map(watcher.visit, EMULATED)
    assert max(qemu[0], board_ssh[0]) < min(qemu[1], board_ssh[1]), "devices of two hosts work at once"
    assert board_ssh[1] <= board_adb[0] or board_adb[1] <= board_ssh[0], "those of one host one after another"

    page = index.read_text()
    for name in EMULATED:
        assert f'<span class="name">{name}</span>' in page
    assert "are emulated: compared with nothing that was measured" in page
    assert "runs in Python, and target `board-ssh` has none" in page.replace("&#39;", "'")
    latex = (index.parent / "tables" / "devices.tex").read_text()
    assert "emulated: the answers are the device's, the times are not" in latex


def check_statuses(cells: Sequence[Cell], records: Sequence[Record]) -> None:
    """Every cell that is not excluded has a record, as its device can."""
    assert sorted(record.cell_key for record in records) == sorted(cell.key for cell in cells if cell.verdict != "excluded")
    expected = {("onnxruntime", name): "ok" if name in DESK else "unsupported" for name in (*DESK, *EMULATED)}
    expected |= {("native", name): "ok" for name in EMULATED}
    found = {(record.axes.backend, record.axes.target): (record.status, record.reason) for record in records}
    assert {where: status for where, (status, _) in found.items()} == expected, found


def correct(record: Record) -> float:
    found = record.measurement("top1")
    assert found is not None and found.samples is not None
    return float(found.samples.value.sum())
