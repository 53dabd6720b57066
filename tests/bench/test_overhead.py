"""What the harness itself costs: seconds a cell on a backend that does nothing, seconds a plan, seconds until `--help`.

Run by `nox -s bench`, which prints the figures; nothing is asserted about time.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness import run as run_module
from harness.executor import Executor
from harness.identity import identify
from harness.plan import plan
from harness.progress import Terminal
from harness.run import Conductor
from harness.suite import Suite, load_suite
from results.store import open_store
from targets.session import CommandResult, Session
from targets.target import Target
from targets.transports import connect

TARGETS = {"local": Target("local")}
NULL_BACKEND = '''
"""Does nothing, in no time."""
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class Null:
    index: int = 0
    requires: ClassVar[tuple[str, ...]] = ("numpy",)
    reads: ClassVar[tuple[str, ...]] = ()

    def supports(self, workload, numeric, target): return None
    def form(self, numeric, target): return "onnx"
    def build(self, exported, target, folder):
        from harness.artifact import Artifact
        (folder / "null").write_text(str(self.index))
        return Artifact.of(folder, ("null",), {})

BACKEND = Null
'''


class InProcess:
    """A local session whose runner is this process: it answers a request at once with the reference answers and made-up samples."""

    def __init__(self, session: Session, answers: np.ndarray) -> None:
        self._session, self._answers = session, answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, argv: Sequence[str], **options: Any) -> CommandResult:
        if not argv[-1].endswith("request.json"):
            return self._session.run(argv, **options)
        request = json.loads(self._session.pull(argv[-1], max_bytes=1 << 20))
        rows = request["batch"] if request["mode"] == "time" else len(self._answers)
        content = io.BytesIO()
        np.savez(content, out0=self._answers[:rows])
        path = Path(self._session.folder) / request["outputs"][0]  # type: ignore[attr-defined]
        path.write_bytes(content.getvalue())
        document = _document(request, len(content.getvalue()), self._answers[:rows])
        text = f"ASSAY-BEGIN {request['nonce']}\n{json.dumps(document)}\nASSAY-END {request['nonce']}\n"
        return CommandResult(tuple(argv), 0, text.encode(), b"", 10.0)


def _document(request: Mapping[str, Any], size: int, answers: np.ndarray) -> dict[str, Any]:
    tensor = {"shape": list(answers.shape), "dtype": answers.dtype.str, "quantization": None}
    document: dict[str, Any] = {
        "schema": 1, "nonce": request["nonce"], "mode": request["mode"], "load_s": 0.001, "facts": {},
        "clock": {"name": "CLOCK_MONOTONIC", "step_s": 1e-9}, "python": {}, "versions": {},
        "memory": {"rss_before_load_bytes": 1, "rss_after_load_bytes": 1, "peak_rss_bytes": 1},
        "outputs": [{"file": request["outputs"][0], "size_bytes": size, "tensors": [tensor]}],
    }  # fmt: skip
    if request["mode"] == "time":
        duration = 10**7
        state = {"monotonic_s": 0.0, "frequency_hz": None, "celsius": None, "reason": "made up"}
        process = {
            "cpu_s": 0.0,
            "voluntary_switches": 0,
            "involuntary_switches": 0,
            "minor_faults": 0,
            "major_faults": 0,
            "affinity": None,
        }
        document |= {
            "samples": {
                "start_ns": [i * duration for i in range(55)], "duration_ns": [duration] * 55,
                "loops": [1] * 55, "timed": [i >= 5 for i in range(55)],
            },
            "warmup": {"samples": 5, "seconds": 0.05, "capped": False, "least_sample_s": 0.005},
            "state_before": state, "state_after": state, "process_before": process, "process_after": process,
        }  # fmt: skip
    return document


@pytest.fixture
def thousand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    (tmp_path / "plugins" / "backends").mkdir(parents=True)
    (tmp_path / "plugins" / "backends" / "nothing.py").write_text(NULL_BACKEND)
    monkeypatch.setenv("ASSAY_PLUGINS", str(tmp_path / "plugins"))
    (tmp_path / "thousand.yaml").write_text(
        f"models: [{{mlp: {{epochs: 1}}}}]\nmethods: [float32]\nbackends: [{{nothing: {{index: {list(range(1, 1001))}}}}}]\n"
        "sampling: {launches: 3, min_samples: 50, min_s: 0.5, evaluation_size: 64}\n"
    )
    return load_suite(str(tmp_path / "thousand.yaml"), known_targets=("local",))


def test_a_thousand_cells(thousand: Suite, benchmark: BenchmarkFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = plan(thousand, TARGETS, identify(thousand, TARGETS), lambda _hashes: {})
    with open_store(str(tmp_path / "store.db")) as store, Executor(2) as executor:
        first = Conductor(thousand, store, executor, Terminal(3, quiet=True))
        executor.run([first._build_step(cells[0])])  # the network itself is made before the clock starts
        network = first._build_step(cells[0]).needs[0].needs[0].folder
        with np.load(network / "examples.npz") as stored:
            answers = stored["outputs"]

        @contextmanager
        def connect_in_process(target: Target) -> Iterator[Any]:
            with connect(target) as session:
                yield InProcess(session, answers)

        monkeypatch.setattr(run_module, "connect", connect_in_process)
        run = benchmark.pedantic(lambda: first.conduct(cells), rounds=1)
        records = store.run_records(run.id)
    assert len(records) == 1000 and all(record is not None and record.status == "ok" for _, record in records)
    seconds = benchmark.stats.stats.mean if benchmark.stats else float("nan")
    print(f"\n{1000 * seconds / 1000:.2f} ms a cell (1 check and 3 launches each, building and store included)")


def test_a_plan_of_a_hundred_thousand_cells(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    sparsities = [round(0.0001 + index / 5001, 7) for index in range(5000)]
    path.write_text(
        f"models: [mlp, small_cnn]\nmethods: [{{magnitude_prune: {{sparsity: {sparsities}}}}}]\n"
        "backends: [onnxruntime, litert]\noperating_points: {threads: [1, 2, 3, 4, 5]}\n"
    )

    def load_and_plan() -> int:
        suite = load_suite(str(path), known_targets=("local",))
        return len(plan(suite, TARGETS, identify(suite, TARGETS), lambda _hashes: {}))

    assert benchmark.pedantic(load_and_plan, rounds=1) == 100_000


def test_the_time_until_help(benchmark: BenchmarkFixture) -> None:
    def help_() -> bytes:
        return subprocess.run([sys.executable, "-m", "harness.cli", "--help"], capture_output=True, check=True).stdout

    assert b"assay plan smoke" in benchmark.pedantic(help_, rounds=5, warmup_rounds=1)
