"""The harness itself is killed, or told to stop, while it measures a device: nothing of it stays there, and the next run goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from results.record import Record
from results.store import open_store

if TYPE_CHECKING:
    Ordeal = Any
    Sound = Callable[[Ordeal, Sequence[Record]], None]

pytestmark = [pytest.mark.torch, pytest.mark.peers]

INVENTORY = """\
targets:
  device: {{transport: ssh, isa: x86_64, host: {t.host}, address: {t.address}, user: root, connect_s: 3, key_file: {t.key_file},
           known_hosts: {t.known_hosts}, work_dir: {t.work_dir}, lease_dir: {t.lease_dir}, python: "none", sysfs: {t.sysfs}}}
"""


def started(ordeal: Ordeal) -> subprocess.Popen[bytes]:
    """`assay run` in a process group of its own."""
    folder = ordeal.store_path.parent
    (folder / "devices.yaml").write_text(INVENTORY.format(t=ordeal.machine.target))
    options = ["--store", ordeal.store_path, "--out", folder / "out", "--inventory", folder / "devices.yaml"]
    words = [sys.executable, "-m", "harness.cli", "run", ordeal.suite, *options]
    with (folder / "stderr.txt").open("wb") as stderr:
        return subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_harness_that_is_stopped_leaves_nothing_and_is_gone_on_from(
    ordeal: Ordeal, sound: Sound, number: signal.Signals, seed: int
) -> None:
    stderr = ordeal.store_path.parent / "stderr.txt"
    process = started(ordeal)
    while b"device: " not in stderr.read_bytes():  # until it is at work there
        assert process.poll() is None, stderr.read_text()
        time.sleep(0.02)
    time.sleep(random.Random(seed).uniform(0, 2.5))
    os.killpg(process.pid, number)
    status = process.wait(timeout=60)
    if number == signal.SIGINT and status != 0:  # 0: it had ended before
        said = stderr.read_text()
        assert status == 130 and "Go on with: assay run" in said and "Traceback" not in said
    deadline = time.monotonic() + 30
    while (left := ordeal.machine.left_running()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
    with open_store(str(ordeal.store_path)) as store:
        before = {record.id for record in store.records()}
    assert started(ordeal).wait(timeout=300) == 0, stderr.read_text()
    with open_store(str(ordeal.store_path)) as store:
        newest = max(store.runs(), key=lambda run: run.started)
        records = [record for _, record in store.run_records(newest.id) if record is not None]
        everything = list(store.records())
    sound(ordeal, records)
    assert len(records) == 2 and {record.status for record in records} == {"ok"}
    assert {record.id for record in everything} == {record.id for record in records} >= before, (
        "what was recorded is not measured again"
    )
