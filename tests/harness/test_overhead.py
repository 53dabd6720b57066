"""What the harness itself costs: milliseconds a cell on a backend that does nothing, seconds a plan, time until `--help`.

`nox -s bench` runs it in full and prints the figures; nothing is asserted about time.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.executor import Executor
from harness.identity import identify
from harness.plan import plan
from harness.progress import Terminal
from harness.run import Conductor
from harness.steps import build_step
from harness.suite_file import load_suite
from results.store import open_store
from targets.target import Target

pytestmark = pytest.mark.torch

TARGETS = {"local": Target("local")}


def test_a_thousand_cells(null_backend: None, answer_in_process: Callable[..., None], benchmark: Any, tmp_path: Path) -> None:
    count = 1000 if benchmark.enabled else 20
    path = tmp_path / "suite.yaml"
    path.write_text(
        f"models: [{{mlp: {{epochs: 1}}}}]\nmethods: [float32]\nbackends: [{{nothing: {{index: {list(range(1, count + 1))}}}}}]\n"
        "sampling: {launches: 3, min_samples: 50, min_s: 0.5, evaluation_size: 64}\n"
    )
    suite = load_suite(str(path), known_targets={"local": Target("local")})
    cells = plan(suite, TARGETS, identify(suite, TARGETS), lambda _hashes: {})
    first = cells[0]
    export = build_step(first.workload, first.method, first.backend, first.target, 1, suite.seed).needs[0]
    with open_store(str(tmp_path / "store.db")) as store, Executor(2) as executor:
        executor.run([export])  # the network itself is made before the clock starts
        with np.load(export.needs[0].folder / "examples.npz") as stored:
            answer_in_process(stored["outputs"])
        conductor = Conductor(suite, store, executor, Terminal(3, quiet=True))
        run = benchmark.pedantic(lambda: conductor.conduct(cells), rounds=1)
        records = store.run_records(run.id)
    assert len(records) == count and all(record is not None and record.status == "ok" for _, record in records)
    if benchmark.enabled:
        print(f"\n{benchmark.stats.stats.mean / count * 1e3:.1f} ms a cell: 1 check and 3 launches, building and store included")


def test_a_plan_of_a_hundred_thousand_cells(benchmark: Any, tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    strengths = 5000 if benchmark.enabled else 50
    sparsities = [round(0.0001 + index / (strengths + 1), 7) for index in range(strengths)]
    path.write_text(
        f"models: [mlp, small_cnn]\nmethods: [{{magnitude_prune: {{sparsity: {sparsities}}}}}]\n"
        "backends: [onnxruntime, litert]\noperating_points: {threads: [1, 2, 3, 4, 5]}\n"
    )

    def load_and_plan() -> int:
        suite = load_suite(str(path), known_targets={"local": Target("local")})
        return len(plan(suite, TARGETS, identify(suite, TARGETS), lambda _hashes: {}))

    assert benchmark.pedantic(load_and_plan, rounds=1) == 20 * strengths


def test_the_time_until_help(benchmark: Any) -> None:
    def help_() -> bytes:
        return subprocess.run([sys.executable, "-m", "harness.cli", "--help"], capture_output=True, check=True).stdout

    assert b"assay plan smoke" in benchmark.pedantic(help_, rounds=5, warmup_rounds=1)
