"""Bench, end to end on this machine: a small ONNX file on the installed backends and on bad ones of our own."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import harness.backends
from harness import environment, measure, plugins
from harness.bench import BenchReport, bench, parse_dims, random_sets, read_sets, readers
from harness.errors import UserError
from harness.export import Signature, TensorSpec
from harness.plugins import Choice
from harness.suite import Sampling
from results.record import Samples
from results.stats import median_interval
from targets.session import Session
from targets.target import Target

FAST = Sampling(launches=2, warmup_samples=2, warmup_s=0.005, min_samples=5, min_s=0.02, min_sample_s=0.001, check_inputs=2)
KEYS = {"backend", "target", "status", "reason", "latency_s", "peak_memory_bytes", "artifact_bytes", "max_abs_error", "origin"}

BACKEND = """
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class Backend:
    offset: float = 0.0
    late: bool = False
    requires: ClassVar[tuple[str, ...]] = ("numpy",)
    reads: ClassVar[tuple[str, ...]] = {reads}
    def supports(self, workload, numeric, target):
        {supports}
    def form(self, numeric, target):
        return "onnx"
    def build(self, exported, target, folder):
        import shutil
        from harness.artifact import Artifact
        from harness.errors import BuildError, Unsupported
        {build}
        shutil.copy(exported.path, folder / "model.bin")
        return Artifact.of(folder, ("model.bin",), {{}})

BACKEND = Backend

class Network:
    def __init__(self, options):
        self.options = options
        self.invoked = 0
    def set_inputs(self, arrays):
        self.arrays = arrays
    def invoke(self):
        self.invoked += 1
        {invoke}
    def outputs(self):
        wrong = self.options["offset"] if self.invoked > 10 or not self.options["late"] else 0
        return [2 * self.arrays[0] + self.arrays[1] + wrong]
    def output_quantization(self):
        return [None]
    def facts(self):
        return {{"threads": self.options["threads"]}}

def load(folder, file, options):
    return Network(options)
"""


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Choice]]:
    """Adds a backend, plain NumPy, which can be made to misbehave; gone again after the test."""
    folder = tmp_path / "plugins" / "backends"
    folder.mkdir(parents=True)
    monkeypatch.setenv("ASSAY_PLUGINS", str(tmp_path / "plugins"))
    monkeypatch.setattr(harness.backends, "__path__", list(harness.backends.__path__))

    def add(
        name: str,
        reads: str = '(".onnx",)',
        supports: str = "return None",
        build: str = "pass",
        invoke: str = "pass",
        **params: Any,
    ) -> Choice:
        (folder / f"{name}.py").write_text(
            textwrap.dedent(BACKEND).format(reads=reads, supports=supports, build=build, invoke=invoke)
        )
        return plugins.resolve("backends", name, params)

    yield add
    plugins.load.cache_clear()
    plugins.path.cache_clear()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """y = 2 x + z over [3, 4], without a batch axis of its own."""
    shape = [3, 4]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "two"], ["d"]), helper.make_node("Add", ["d", "z"], ["y"])],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "z")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(2, np.float32), "two")],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target("device", work_dir=str(tmp_path / "work"), host=str(tmp_path))


def benched(model: Path, target: Target, *choices: Choice, inputs: Path | None = None, seed: int = 0) -> BenchReport:
    return bench(model, backends=choices or None, target=target, threads=1, inputs=inputs, sampling=FAST, seed=seed)


def only(report: BenchReport) -> dict[str, Any]:
    (result,) = report.to_json()["results"]
    found: dict[str, Any] = result
    return found


def test_every_backend_that_reads_the_file_is_measured(model: Path, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(readers(model)) >= {"onnxruntime", "openvino", "tvm"} and "litert" not in readers(model)
    monkeypatch.setattr(plugins, "names", lambda _family: ("litert", "onnxruntime", "torch"))
    report = benched(model, target)
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert set(document) == {"schema", "results"} and document["schema"] == 1
    (result,) = document["results"]
    assert set(result) == KEYS
    assert (result["backend"], result["target"], result["status"], result["reason"]) == ("onnxruntime", "device", "ok", None)
    assert result["origin"] == "measured" and result["artifact_bytes"] == model.stat().st_size
    assert result["peak_memory_bytes"] > 1 << 20 and result["max_abs_error"] <= 1e-5
    assert report.is_good


def test_latency_is_the_interval_over_launches_and_every_timed_sample(model: Path, target: Target) -> None:
    report = benched(model, target, Choice("onnxruntime"))
    (latency,) = (m for m in report.results[0].measurements if m.metric == "latency")
    assert isinstance(latency.samples, Samples)
    interval = median_interval(latency.samples)
    found = only(report)["latency_s"]
    assert (found["median"], found["low"], found["high"]) == (interval.estimate, interval.low, interval.high)
    assert found["samples"] == latency.samples.value[latency.samples.timed].tolist()
    assert len(found["samples"]) >= 2 * FAST.min_samples and not latency.samples.timed.all()


def test_a_backend_that_is_not_installed_is_unsupported_with_how_to_get_it(
    model: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_ENVIRONMENTS", str(model.parent / "none"))
    environment.versions.cache_clear()
    result = only(benched(model, target, Choice("tvm")))
    environment.versions.cache_clear()
    assert (result["status"], result["latency_s"]) == ("unsupported", None)
    assert result["reason"] == "apache-tvm, numpy, onnx not installed: assay setup tvm"


@pytest.mark.parametrize("text", ["n", "n=", "=3", "n=0", "n=-1", "n=1.5", "n=x"])
def test_a_dimension_without_a_size_is_the_users_error(text: str) -> None:
    with pytest.raises(UserError, match="expected NAME=SIZE"):
        parse_dims([text])
    assert parse_dims(["n=3", "x[2]=640", "a=b=2"]) == {"n": 3, "x[2]": 640, "a=b": 2}


def test_a_backend_that_answers_right_is_ok(model: Path, target: Target, backend: Callable[..., Choice]) -> None:
    report = benched(model, target, backend("honest"), plugins.resolve("backends", "onnxruntime", {}))
    assert [(r.backend, r.status) for r in report.results] == [("honest", "ok"), ("onnxruntime", "ok")]


@pytest.mark.parametrize(
    ("how", "status", "reason"),
    [
        ({"offset": 0.5}, "wrong", "wrong answer: largest error 0.5"),
        ({"offset": float("1e30")}, "wrong", "wrong answer"),
        ({"offset": 0.5, "late": True}, "wrong", "wrong answer: largest error 0.5"),
        ({"reads": '(".tflite",)'}, "unsupported", "does not read .onnx files; it reads .tflite"),
        ({"reads": "()"}, "unsupported", "does not read .onnx files; it reads none as they are"),
        ({"supports": "return f'no {numeric} on {target.name}'"}, "unsupported", "no float32 on device"),
        ({"build": "raise Unsupported('node d: Mul')"}, "unsupported", "node d: Mul"),
        ({"build": "raise BuildError('no compiler; install gcc')"}, "failed", "no compiler; install gcc"),
        ({"invoke": "raise RuntimeError('bad kernel')"}, "failed", "the runner failed: RuntimeError: bad kernel"),
        ({"invoke": "import os; os.kill(os.getpid(), 9)"}, "failed", "killed by signal SIGKILL"),
        ({"invoke": "if self.invoked > 10: raise MemoryError('arena')"}, "failed", "the runner failed: MemoryError: arena"),
    ],
)  # fmt: skip
def test_a_backend_that_does_not_is_told_and_the_others_go_on(
    model: Path, target: Target, backend: Callable[..., Choice], how: dict[str, Any], status: str, reason: str
) -> None:
    report = benched(model, target, backend(f"bad{abs(hash(json.dumps(how)))}", **how), backend("honest"))
    bad, good = (result.to_json() for result in report.results)
    assert bad["status"] == status and reason in bad["reason"]
    assert bad["latency_s"] is None and bad["peak_memory_bytes"] is None
    assert set(bad) == KEYS and good["status"] == "ok" and good["latency_s"]["samples"]
    assert report.is_good == (status == "unsupported")
    json.dumps(report.to_json(), allow_nan=False)


def test_a_wrong_answer_is_never_timed(
    model: Path, target: Target, backend: Callable[..., Choice], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any, **_more: Any) -> measure.Launch:
        raise AssertionError("timed before it was right")

    monkeypatch.setattr(measure, "time_launch", refuse)
    result = only(benched(model, target, backend("early_liar", offset=0.5)))
    assert result["status"] == "wrong" and result["max_abs_error"] == pytest.approx(0.5)


def test_the_text_has_a_line_a_backend_and_the_reasons(model: Path, target: Target, backend: Callable[..., Choice]) -> None:
    text = benched(model, target, backend("honest"), backend("liar", offset=3.0)).text()
    header, honest, liar = text.splitlines()
    assert header.split()[:4] == ["BACKEND", "TARGET", "STATUS", "LATENCY"]
    assert honest.split()[:3] == ["honest", "device", "ok"] and honest.endswith("measured")
    assert liar.split()[:3] == ["liar(offset=3)", "device", "wrong"] and "largest error 3" in liar


def test_an_emulated_device_is_said_to_be_one(model: Path, tmp_path: Path) -> None:
    report = benched(model, Target("qemu", work_dir=str(tmp_path / "work"), origin="emulated"), Choice("onnxruntime"))
    assert only(report)["origin"] == "emulated" and report.text().endswith("emulated")


def test_a_device_that_cannot_be_used_fails_every_backend(model: Path, tmp_path: Path, backend: Callable[..., Choice]) -> None:
    (tmp_path / "file").write_text("")
    report = benched(model, Target("device", work_dir=str(tmp_path / "file" / "x")), backend("honest"), backend("other"))
    assert [(r.status, "no work directory" in str(r.reason)) for r in report.results] == [("failed", True)] * 2
    assert not report.is_good


def test_launches_are_interleaved_in_the_seeds_order(
    model: Path, target: Target, backend: Callable[..., Choice], monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = [backend(name) for name in ("one", "two", "three")]
    order: list[str] = []
    timed = measure.time_launch

    def noted(session: Session, deployed: measure.Deployed, *args: Any, **more: Any) -> measure.Launch:
        order.append(Path(deployed.backend).stem)
        return timed(session, deployed, *args, **more)

    monkeypatch.setattr(measure, "time_launch", noted)
    orders = []
    for seed in (1, 1, 2):
        order.clear()
        benched(model, target, *choices, seed=seed)
        assert sorted(order[:3]) == sorted(order[3:]) == ["one", "three", "two"]
        orders.append(tuple(order))
    assert orders[0] == orders[1] != orders[2]


def test_given_inputs_are_used(model: Path, target: Target, backend: Callable[..., Choice], tmp_path: Path) -> None:
    x, z = np.full((3, 4), 1e6, np.float32), np.ones((3, 4), np.float32)
    np.savez(tmp_path / "inputs.npz", z=z, x=x)
    # 1e-4 of two million lets an offset pass that standard normal inputs would not
    report = benched(model, target, backend("near", offset=50.0), inputs=tmp_path / "inputs.npz")
    assert only(report)["status"] == "ok" and only(report)["max_abs_error"] == pytest.approx(50, rel=0.1)


def test_a_file_that_no_backend_reads_is_the_users_mistake(tmp_path: Path, target: Target) -> None:
    (tmp_path / "model.pb").write_bytes(b"x")
    with pytest.raises(UserError, match=r"model\.pb: no backend reads \.pb files"):
        benched(tmp_path / "model.pb", target)


def test_a_corrupt_file_is_the_users_mistake(tmp_path: Path, target: Target) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x0a garbage")
    with pytest.raises(UserError, match=r"model\.onnx"):
        benched(tmp_path / "model.onnx", target)


WANTED = Signature(
    (TensorSpec("x", (2, 3), "float32"), TensorSpec("code", (500,), "int8"), TensorSpec("pixel", (500,), "uint8"),
     TensorSpec("ids", (50,), "int64"), TensorSpec("mask", (50,), "bool"), TensorSpec("half", (), "float16")),
    (),
)  # fmt: skip


def test_random_inputs_fit_the_signature_and_follow_the_seed() -> None:
    sets = random_sets(WANTED, 3, seed=5)
    assert len(sets) == 3
    for arrays in sets:
        assert [(a.shape, a.dtype.name) for a in arrays] == [(spec.shape, spec.dtype) for spec in WANTED.inputs]
        x, code, pixel, ids, mask, _half = arrays
        assert code.min() < -100 and code.max() > 100 and pixel.max() > 200
        assert set(ids.tolist()) == {0, 1} and set(mask.tolist()) == {False, True} and abs(x).max() < 6
    assert not np.array_equal(sets[0][0], sets[1][0])
    again, other = random_sets(WANTED, 3, seed=5), random_sets(WANTED, 3, seed=6)
    assert all(np.array_equal(a, b) for one, two in zip(sets, again, strict=True) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(sets[0][0], other[0][0])


def test_inputs_that_cannot_be_made_up_are_asked_for() -> None:
    with pytest.raises(UserError, match="--inputs"):
        random_sets(Signature((TensorSpec("z", (2,), "complex64"),), ()), 1, 0)


PAIR = Signature((TensorSpec("x", (2,), "float32"), TensorSpec("n", (1,), "int32")), ())
X, N = np.array([1, 2], np.float32), np.array([3], np.int32)


@pytest.mark.parametrize("arrays", [{"n": N, "x": X}, {"x": X, "n": N}, {"arr_0": X, "arr_1": N}, {"first": X, "second": N}])
def test_inputs_are_taken_by_name_or_in_order(tmp_path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    np.savez(tmp_path / "i.npz", **arrays)  # type: ignore[arg-type]
    ((x, n),) = read_sets(tmp_path / "i.npz", PAIR)
    assert np.array_equal(x, X) and np.array_equal(n, N) and n.dtype == np.int32


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "1 arrays for the 2 inputs x, n"),
        ({"x": X, "m": N}, "no input is named `m`"),
        ({"x": X.astype(np.float64), "n": N}, r"input `x` is float32\[2\], not float64\[2\]"),
        ({"x": X.reshape(2, 1), "n": N}, r"input `x` is float32\[2\], not float32\[2, 1\]"),
        ({"a": N, "b": X}, r"input `x` is float32\[2\], not int32\[1\]"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, npt.NDArray[Any]], message: str) -> None:
    np.savez(tmp_path / "i.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message):
        read_sets(tmp_path / "i.npz", PAIR)


def test_input_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.npz: no such file"):
        read_sets(tmp_path / "absent.npz", PAIR)
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(UserError, match="not an npz file"):
        read_sets(tmp_path / "text.npz", PAIR)
    np.save(tmp_path / "single.npy", X)
    with pytest.raises(UserError, match="not an npz file"):
        read_sets(tmp_path / "single.npy", PAIR)
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object), n=N)
    with pytest.raises(UserError, match="not an npz file"):
        read_sets(tmp_path / "objects.npz", PAIR)


MLPERF_TINY = sorted((Path(os.environ.get("ASSAY_DATA", "")) / "models").glob("mlperf_tiny_*.tflite"))


@pytest.mark.skipif(not MLPERF_TINY, reason="mlperf_tiny_*.tflite are not in $ASSAY_DATA/models")
@pytest.mark.parametrize("path", MLPERF_TINY, ids=lambda path: path.stem)
def test_mlperf_tiny_outputs_are_bit_equal_to_litert_called_by_hand(
    path: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    launches: list[tuple[npt.NDArray[Any], measure.Launch]] = []
    timed = measure.time_launch

    def kept(session: Session, deployed: measure.Deployed, inputs: Any, **more: Any) -> measure.Launch:
        launch = timed(session, deployed, inputs, **more)
        launches.append((inputs[0], launch))
        return launch

    monkeypatch.setattr(measure, "time_launch", kept)
    report = benched(path, target, plugins.resolve("backends", "litert", {}))
    assert only(report)["status"] == "ok", only(report)["reason"]
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    for x, launch in launches:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        (detail,) = interpreter.get_output_details()
        scale, zero_point = detail["quantization"]
        by_hand = interpreter.get_tensor(detail["index"])
        if scale:
            by_hand = np.float32(scale) * (by_hand.astype(np.float32) - np.float32(zero_point))
        assert launch.outputs[0].tobytes() == by_hand.tobytes()
    assert len(launches) == FAST.launches
