"""The runner as a device runs it: a process of its own, a backend file of NumPy alone."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

RUNNER = Path(__file__).resolve().parents[3] / "harness" / "runners" / "python_runner.py"
NONCE = "0123456789abcdef"
SAMPLING = {"warmup_samples": 3, "warmup_s": 0.01, "min_samples": 6, "min_s": 0.03, "min_sample_s": 0.002}
BACKEND = """
import os
import sys
import time
import numpy as np

class Network:
    # out0 = in0 @ weights, out1 = sum over in0's rows as quantized integers; `invoke` lasts options["invoke_s"]
    def __init__(self, folder, file, options):
        self.weights = np.load(os.path.join(folder, file))
        self.options = options
        self.calls = 0
    def set_inputs(self, arrays):
        self.inputs = [a.copy() for a in arrays]
        self.shapes = [a.shape for a in arrays]
    def invoke(self):
        self.calls += 1
        end = time.perf_counter() + self.options.get("invoke_s", 0)
        self.product = self.inputs[0] @ self.weights
        while time.perf_counter() < end:
            pass
    def outputs(self):
        return [self.product.copy(), np.rint(self.inputs[0].sum(axis=-1, keepdims=True)).astype(np.int8)]
    def output_quantization(self):
        return [None, (0.5, -3)]
    def facts(self):
        return {"threads": self.options["threads"], "file": __file__}

def load(folder, file, options):
    print("printed by a library")
    os.write(1, b"written by a library\\n")
    print("said by a library", file=sys.stderr)
    if "allocate" in options:
        global kept
        kept = np.ones(options["allocate"], np.uint8)
    space = {"np": np, "os": os, "time": time}
    exec(options.get("load", ""), space)
    network = Network(folder, file, options)
    space["network"] = network
    exec(options.get("after", ""), space)
    return network
"""
WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3)


class Device:
    """A folder laid out as `exchange` lays it out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "numpy_backend.py").write_text(BACKEND)
        (folder / "artifact").mkdir()
        np.save(folder / "artifact" / "weights.npy", WEIGHTS)

    def request(self, mode: str, inputs: list[list[npt.NDArray[Any]]], options: Mapping[str, Any] = {}, **more: Any) -> list[str]:
        for index, arrays in enumerate(inputs):
            np.savez(self.folder / f"in{index}.npz", **{f"in{i}": array for i, array in enumerate(arrays)})  # type: ignore[arg-type]
        document = {
            "schema": 1,
            "nonce": NONCE,
            "mode": mode,
            "backend": "numpy_backend.py",
            "folder": "artifact",
            "files": ["weights.npy"],
            "sysfs": "/sys",
            "cpus": None,
            "count_instructions": False,
            "options": {"threads": 1, **options},
            "inputs": [f"in{index}.npz" for index in range(len(inputs))],
            "outputs": [f"out{index}.npz" for index in range(len(inputs))],
            "batch": 1,
            "batched": True,
            "sampling": SAMPLING,
            "distributions": ["numpy", "no-such-distribution"],
            "limit_s": 60,
            **more,
        }
        (self.folder / "request.json").write_text(json.dumps(document))
        return [sys.executable, "-B", str(RUNNER), "request.json"]

    def run(self, *args: Any, status: int = 0, **more: Any) -> dict[str, Any]:
        result = subprocess.run(
            self.request(*args, **more), cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == status, result.stderr
        begin, document, end = result.stdout.splitlines()
        assert (begin, end) == (f"ASSAY-BEGIN {NONCE}", f"ASSAY-END {NONCE}")
        assert "printed by a library" in result.stderr and "written by a library" in result.stderr
        fields: dict[str, Any] = json.loads(document)
        assert (fields["schema"], fields["nonce"]) == (1, NONCE)
        return fields

    def outputs(self, index: int = 0) -> list[npt.NDArray[Any]]:
        with np.load(self.folder / f"out{index}.npz", allow_pickle=False) as file:
            return [file[f"out{i}"] for i in range(len(file.files))]


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def examples(rows: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((rows, 4)).astype(np.float32)


@pytest.mark.parametrize(("rows", "batch"), [(1, 1), (5, 1), (4, 4), (5, 4), (8, 4), (3, 4), (9, 2)])
def test_answers_are_those_of_each_example(device: Device, rows: int, batch: int) -> None:
    x = examples(rows)
    document = device.run("answer", [[x]], batch=batch)
    product, quantized = device.outputs()
    np.testing.assert_allclose(product, np.stack([row @ WEIGHTS for row in x]), rtol=1e-6)
    assert quantized.dtype == np.int8 and quantized[:, 0].tolist() == [round(float(row.sum())) for row in x]
    (file,) = document["outputs"]
    assert file["tensors"] == [
        {"shape": [rows, 3], "dtype": "<f4", "quantization": None},
        {"shape": [rows, 1], "dtype": "|i1", "quantization": {"scale": 0.5, "zero_point": -3}},
    ]
    assert file["size_bytes"] == (device.folder / file["file"]).stat().st_size


def test_several_files_are_answered_by_one_process(device: Device) -> None:
    parts = [examples(5), examples(2) + 1, examples(1) + 2]
    document = device.run("answer", [[part] for part in parts], batch=2)
    assert [file["tensors"][0]["shape"][0] for file in document["outputs"]] == [5, 2, 1]
    for index, part in enumerate(parts):
        np.testing.assert_allclose(device.outputs(index)[0], part @ WEIGHTS, rtol=1e-6)


def test_whole_tensors_are_taken_as_they_are(device: Device) -> None:
    x = examples(6).reshape(2, 3, 4)
    document = device.run("answer", [[x]], batched=False, batch=None)
    np.testing.assert_allclose(device.outputs()[0], x @ WEIGHTS, rtol=1e-6)
    assert document["outputs"][0]["tensors"][0]["shape"] == [2, 3, 3]


def test_a_scalar_output_keeps_its_shape(device: Device) -> None:
    after = "network.outputs = lambda: [np.float32(7)]; network.output_quantization = lambda: [None]"
    document = device.run("answer", [[examples(1)]], {"after": after}, batched=False, batch=None)
    assert document["outputs"][0]["tensors"][0]["shape"] == [] and device.outputs()[0] == 7


def test_the_document_says_what_ran(device: Device) -> None:
    document = device.run("answer", [[examples(1)]], {"threads": 3, "allocate": 100 << 20})
    assert document["versions"] == {"numpy": np.__version__, "no-such-distribution": None}
    assert document["facts"] == {"threads": 3, "file": str(device.folder / "numpy_backend.py")}
    assert document["runner"]["version"] == sys.version.split()[0]
    assert document["clock"]["name"] == "CLOCK_MONOTONIC" and 0 < document["clock"]["step_s"] < 1e-3
    memory = document["memory"]
    before, peak = memory["rss_before_load_bytes"], memory["peak_rss_bytes"]
    assert 5 << 20 < before < 500 << 20
    assert 100 << 20 <= peak - before < 150 << 20  # what `load` allocated


def test_timing_meets_both_least_samples_and_least_seconds(device: Device) -> None:
    document = device.run("time", [[examples(1)]], {"invoke_s": 0.0005})
    samples = document["samples"]
    timed = [ns for ns, is_timed in zip(samples["duration_ns"], samples["timed"], strict=True) if is_timed]
    assert len(timed) >= SAMPLING["min_samples"] and sum(timed) >= 1e9 * SAMPLING["min_s"]
    # no more than it must: the last sample was needed
    assert len(timed) == SAMPLING["min_samples"] or sum(timed[:-1]) < 1e9 * SAMPLING["min_s"]
    warm = samples["timed"].count(False)
    assert document["warmup"]["samples"] == warm >= SAMPLING["warmup_samples"]
    assert samples["timed"] == [False] * warm + [True] * len(timed)
    assert document["warmup"]["seconds"] >= SAMPLING["warmup_s"] and not document["warmup"]["capped"]


def test_loops_are_calibrated_until_a_sample_lasts_long_enough(device: Device) -> None:
    samples = device.run("time", [[examples(1)]], {"invoke_s": 0.0002})["samples"]
    columns = list(zip(samples["duration_ns"], samples["loops"], samples["timed"], strict=True))
    assert samples["loops"][0] == 1
    (loops,) = {loops for _, loops, timed in columns if timed}
    assert 2 <= loops <= 200
    assert columns[samples["timed"].index(True) - 1][0] >= 2e6  # the sample that ended the warm-up
    assert all(duration / loops >= 200_000 for duration, loops, _ in columns)  # never less than an inference takes


def test_a_slow_first_sample_does_not_end_the_calibration(device: Device) -> None:
    rule = {**SAMPLING, "warmup_samples": 0, "warmup_s": 0}
    after = "plain = network.invoke; calls = iter([0.05]); network.invoke = lambda: (time.sleep(next(calls, 0.0002)), plain())"
    samples = device.run("time", [[examples(1)]], {"after": after}, sampling=rule)["samples"]
    assert samples["duration_ns"][0] > 5e7 and samples["loops"][0] == 1
    assert samples["timed"].index(True) >= 2  # how often it then loops is the machine's to say: a busy one sleeps longer


def test_a_slow_network_is_not_looped(device: Device) -> None:
    samples = device.run("time", [[examples(1)]], {"invoke_s": 0.01})["samples"]
    assert set(samples["loops"]) == {1}


def test_a_fast_network_leaves_a_bounded_number_of_samples(device: Device) -> None:
    rule = {"warmup_samples": 0, "warmup_s": 0, "min_samples": 1, "min_s": 0.2, "min_sample_s": 1e-9}
    document = device.run("time", [[examples(1)]], sampling=rule)
    assert document["warmup"]["least_sample_s"] == pytest.approx(0.2 / 10_000)
    assert 10 < len(document["samples"]["loops"]) < 20_000


def test_samples_are_in_order_on_the_clock(device: Device) -> None:
    document = device.run("time", [[examples(1)]])
    start, duration = document["samples"]["start_ns"], document["samples"]["duration_ns"]
    assert 0 <= start[0] < 1e9
    assert all(begin + length <= following for begin, length, following in zip(start, duration, start[1:], strict=False))
    state = [document[name]["monotonic_s"] for name in ("state_before", "state_after")]
    assert state[1] - state[0] >= sum(duration) / 1e9


def test_the_timed_process_writes_its_own_outputs(device: Device) -> None:
    x = examples(3)
    document = device.run("time", [[x]], batch=2)
    np.testing.assert_allclose(device.outputs()[0], x[:2] @ WEIGHTS, rtol=1e-6)
    assert document["outputs"][0]["tensors"][0]["shape"] == [2, 3]


def test_a_batch_larger_than_the_examples_is_filled_up(device: Device) -> None:
    x = examples(1)
    device.run("time", [[x]], batch=3)
    np.testing.assert_allclose(device.outputs()[0], np.repeat(x @ WEIGHTS, 3, axis=0), rtol=1e-6)


def test_nothing_is_collected_and_only_invoke_is_called_while_timed(device: Device) -> None:
    after = "import gc; seen = []; network.invoke = lambda: seen.append(gc.isenabled()); "
    after += "network.outputs = lambda: [np.array(seen)]; network.output_quantization = lambda: [None]"
    document = device.run("time", [[examples(1)]], {"after": after})
    seen = device.outputs()[0]
    assert len(seen) == sum(document["samples"]["loops"]) and not seen.any()


def test_process_counters_cover_the_timing(device: Device) -> None:
    document = device.run("time", [[examples(1)]], {"invoke_s": 0.001})
    before, after = document["process_before"], document["process_after"]
    assert all(after[name] >= before[name] for name in before if name != "affinity")
    assert after["cpu_s"] - before["cpu_s"] > 0
    assert after["affinity"] == sorted(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"load": "raise KeyError('no such node')"}, "KeyError", "'no such node'"),
        ({"load": "raise RuntimeError('x' * 100000)"}, "RuntimeError", "x" * 2000),
        ({"load": "import no_such_module"}, "ModuleNotFoundError", "No module named 'no_such_module'"),
        ({"after": "network.invoke = lambda: 1 / 0"}, "ZeroDivisionError", "division by zero"),
        ({"after": "network.facts = lambda: {'x': float('nan')}"}, "ValueError", "Out of range float values"),
        ({"after": "network.facts = lambda: {'x': object()}"}, "TypeError", "Object of type object is not JSON"),
        ({"after": "network.output_quantization = lambda: []"}, "ValueError", "the network has 2 outputs and says how to read 0"),
        ({"after": "network.outputs = lambda: [np.zeros((7, 1)), np.zeros(1)]"}, "ValueError", "output 0 has shape (7, 1)"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_in_the_document(device: Device, options: dict[str, str], kind: str, message: str) -> None:
    document = device.run("answer", [[examples(1)]], options, status=3)
    assert document["error"]["class"] == kind and document["error"]["message"].startswith(message)
    assert len(document["error"]["message"]) <= 2000
    assert set(document) == {"schema", "nonce", "mode", "error"}


def test_the_process_is_bound_to_the_cpus_that_were_asked_for(device: Device) -> None:
    """Before the backend is loaded: it may count them."""
    last = max(os.sched_getaffinity(0))
    seen = "open('seen', 'w').write(str(os.sched_getaffinity(0)))"
    document = device.run("time", [[examples(1)]], options={"load": seen}, cpus=[last])
    assert document["process_before"]["affinity"] == document["process_after"]["affinity"] == [last]
    assert (device.folder / "seen").read_text() == str({last})


@pytest.mark.parametrize("others", [[], [0]])
def test_cpus_that_are_not_there_are_an_error(device: Device, others: list[int]) -> None:
    command = device.request("answer", [[examples(1)]], cpus=[*others, 1023])
    result = subprocess.run(command, cwd=device.folder, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 3 and ("that were asked for" if others else "Invalid argument") in result.stdout


def test_an_error_while_timing_is_told(device: Device) -> None:
    after = "calls = iter([1]); network.invoke = lambda c=calls: next(c)"
    document = device.run("time", [[examples(1)]], {"after": after}, status=3)
    assert document["error"]["class"] == "StopIteration"


def test_a_crash_at_the_end_of_the_interpreter_does_not_spoil_the_answer(device: Device) -> None:
    device.run("answer", [[examples(1)]], {"load": "import atexit; atexit.register(os.abort)"})


def test_it_dies_with_its_parent(device: Device) -> None:
    """kill -9 of whoever started it, while it times in native code."""
    command = device.request(
        "time",
        [[examples(1)]],
        {"after": "open('pid', 'w').write(str(os.getpid()) + '\\n'); network.invoke = lambda: time.sleep(300)"},
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; subprocess.run({command!r})"], cwd=device.folder, stderr=subprocess.DEVNULL
    )
    pid = device.folder / "pid"
    while not pid.exists() or not pid.read_text().endswith("\n"):
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    stat = Path(f"/proc/{int(pid.read_text())}/stat")
    deadline = time.monotonic() + 10
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX":
        assert time.monotonic() < deadline, "the runner outlived its parent"
        time.sleep(0.01)


def test_it_ends_itself_at_its_limit(device: Device) -> None:
    command = device.request("time", [[examples(1)]], {"after": "network.invoke = lambda: time.sleep(300)"}, limit_s=0.5)
    ended = subprocess.run(command, cwd=device.folder, capture_output=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGALRM and ended.stdout == b""


def test_it_is_python_3_8_and_needs_numpy_alone() -> None:
    tree = ast.parse(RUNNER.read_text(), feature_version=(3, 8))
    guarded = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    nodes = [node for node in ast.walk(tree) if node not in guarded]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in modules} <= set(sys.stdlib_module_names) | {"numpy"}
