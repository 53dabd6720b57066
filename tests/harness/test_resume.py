"""A run killed at any moment goes on where it stopped: the same cells as an undisturbed run, none lost, none doubled, nothing left running."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from results.store import open_store

pytestmark = [pytest.mark.torch, pytest.mark.peers]

KILLS = 20 if os.environ.get("ASSAY_NIGHTLY") else 1
SUITE = """\
models: [{mlp: {epochs: 2}}]
methods: [float32, {magnitude_prune: {sparsity: 0.5, fine_tune_epochs: 1}}]
backends: [onnxruntime, torch]
exclude: [{method: magnitude_prune, backend: torch}]
sampling: {launches: 3, min_samples: 5, min_s: 0.05, min_sample_s: 0.001, evaluation_size: 100}
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "stderr.txt").open("ab") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "harness.cli", "run", "suite.yaml", "--store", "store.db", "--out", "report"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )


def finish(folder: Path) -> None:
    process = start(folder)
    assert process.wait(timeout=300) == 0, (folder / "stderr.txt").read_text()


def all_ended(cache: Path) -> bool:
    """Whether workers and runners end in time: who notices that the harness is gone must first come to run."""
    deadline = time.monotonic() + 60
    while left := left_running(cache):
        if time.monotonic() > deadline:
            print(left)
            return False
        time.sleep(0.05)
    return True


def left_running(cache: Path) -> list[str]:
    """Command lines of live processes that were started for this cache: workers and runners."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
                status = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if f"ASSAY_CACHE={cache}".encode() in environment.split(b"\0") and status != "Z":
                found.append(command)
    return found


def test_killed_runs_end_as_an_undisturbed_one(tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    rng = random.Random(20)
    begun = time.monotonic()
    finish(tmp_path)  # undisturbed: the reference, and how long it takes
    undisturbed_s = time.monotonic() - begun
    with open_store(str(tmp_path / "store.db")) as store:
        (reference,) = store.runs()
        expected = [(cell.cell_key, cell.input_hash) for cell, record in store.run_records(reference.id) if record]
    (tmp_path / "store.db").unlink()

    for _ in range(KILLS):
        process = start(tmp_path)
        time.sleep(rng.uniform(0.1, undisturbed_s))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert all_ended(own_cache)
    finish(tmp_path)

    with open_store(str(tmp_path / "store.db")) as store:
        newest = max(store.runs(), key=lambda run: run.started)
        answered = [(cell.cell_key, cell.input_hash, record) for cell, record in store.run_records(newest.id)]
        assert [(key, input_hash) for key, input_hash, _ in answered] == expected
        for key, input_hash, record in answered:
            assert record is not None and record.status == "ok" and store.verify(record.id)
            assert (record.cell_key, record.input_hash) == (key, input_hash)
            latency = record.measurement("latency")
            assert latency is not None and latency.samples is not None
            assert sorted(set(latency.samples.launch.tolist())) == [0, 1, 2], "each launch once, whoever made it"
        everything = [record.input_hash for record in store.records()]
        assert len(everything) == len(set(everything)) == len(expected), "a cell that had its record was not measured again"
        assert all(not store.launches(run.id, input_hash) for run in store.runs() for _, input_hash in expected)
    assert (tmp_path / "report" / "index.html").is_file()


def test_an_interrupted_run_ends_soon_and_says_how_to_go_on(tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    process = start(tmp_path)
    for _ in range(600):
        time.sleep(0.1)
        if (own_cache / "steps" / "compress").exists():
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    assert process.wait(timeout=60) == 130
    said = (tmp_path / "stderr.txt").read_text()
    assert "interrupted" in said and "Go on with: assay run suite.yaml" in said
    assert "Traceback" not in said and "resource_tracker" not in said
    assert all_ended(own_cache)
