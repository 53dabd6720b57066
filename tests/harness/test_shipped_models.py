"""Networks that other people trained and ship in Python packages, unchanged through `bench`: every backend that reads them, or why not."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest

from harness import environment
from harness.bench import BenchReport, bench
from harness.plugins import Choice
from harness.suite import Sampling
from targets.target import Target

FAST = Sampling(launches=1, warmup_samples=1, warmup_s=0.005, min_samples=3, min_s=0.01, min_sample_s=0.001, check_inputs=2)


def shipped(distribution: str, suffix: str) -> list[Path]:
    """A package's model files; nothing of it is imported."""
    try:
        found = files(distribution) or []
    except PackageNotFoundError:
        pytest.skip(f"{distribution} is not installed")
    return sorted(Path(str(file.locate())) for file in found if file.suffix == suffix)


def benched(path: Path, folder: Path, *names: str) -> BenchReport:
    target = Target("device", work_dir=str(folder / "work"), host=str(folder))
    usable = tuple(Choice(name) for name in names if environment.missing(name, target) is None)
    return bench(path, backends=usable, target=target, threads=1, inputs=None, sampling=FAST, seed=0)


def test_wake_words_run_on_both_readers_of_tflite_with_the_same_integers(tmp_path: Path) -> None:
    """Streaming networks with state inside: int8 convolutions, variables, a concatenation."""
    models = shipped("pymicro-wakeword", ".tflite")
    assert len(models) >= 4
    for path in models[:2]:
        for result in benched(path, tmp_path, "litert", "tflite_micro").results:
            assert result.status == "ok", (path.name, result.backend, result.reason)


def test_a_transformer_over_bytes_runs_with_integer_inputs_and_symbolic_sizes(tmp_path: Path) -> None:
    (path,) = shipped("magika", ".onnx")
    results = {result.backend: result for result in benched(path, tmp_path, "onnxruntime", "openvino").results}
    assert results["onnxruntime"].status == "ok", results["onnxruntime"].reason
    assert all(result.status == "ok" for result in results.values()), results
