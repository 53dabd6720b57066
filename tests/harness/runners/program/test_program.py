"""The runner in C keeps the Python runner's contract: the same request, the same answers, a document of the same members."""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness import measure
from harness.artifact import Artifact
from harness.runners.exchange import deploy_program
from harness.runners.reply import Document, check_timing, parse_reply, read_outputs
from harness.suite import Sampling
from harness.toolchain import runner_program
from targets.target import Target
from targets.transports import connect

pytestmark = pytest.mark.toolchain

Examples = Callable[..., list[npt.NDArray[np.float32]]]
OWN = {"facts": 0, "runner": 0, "versions": 0, "frequency_hz": 0, "celsius": 0}
"""Members that each runner fills with its own."""


@pytest.mark.parametrize(
    ("mode", "rows", "more"),
    [
        ("answer", (5,), {}),
        ("answer", (4, 1, 3), {}),
        ("answer", (2, 2), {"batched": False, "batch": None}),
        ("time", (5,), {}),
        ("time", (1,), {}),
        ("time", (2,), {"batched": False, "batch": None}),
        ("time", (2,), {"count_instructions": True}),
        ("profile", (5,), {}),
    ],
)
def test_both_runners_say_the_same(
    device: Any, examples: Examples, same_kind: Any, mode: str, rows: tuple[int, ...], more: Any
) -> None:
    parts = [examples(count, seed) for seed, count in enumerate(rows)]
    theirs = device.run(mode, parts, python=True, **more)
    expected = [device.outputs(index) for index in range(len(theirs["outputs"]))]
    ours = device.run(mode, parts, **more)
    same_kind(ours, theirs, OWN | ({"instructions": 0, "instructions_reason": 0} if more.get("count_instructions") else {}))
    for index, (one, other) in enumerate(zip(ours["outputs"], theirs["outputs"], strict=True)):
        assert (one["file"], one["tensors"]) == (other["file"], other["tensors"])
        assert one["size_bytes"] == (device.folder / f"out{index}.npz").stat().st_size
    for index, arrays in enumerate(expected):
        for one, other in zip(device.outputs(index), arrays, strict=True):
            assert one.dtype == other.dtype and np.array_equal(one, other)


def test_the_host_believes_the_document_and_the_files(device: Any, examples: Examples) -> None:
    device.request("time", [examples(2)])
    result = device.started()
    reply = parse_reply(result.stdout.encode(), "0123456789abcdef")
    assert isinstance(reply, Document) and reply.runner.implementation == "C" and reply.facts == {"kernels": ["matmul", "add"]}
    check_timing(reply, Sampling(warmup_samples=3, warmup_s=0.01, min_samples=6, min_s=0.03, min_sample_s=0.002), 60.0)
    y, total = read_outputs((device.folder / "out0.npz").read_bytes(), reply.outputs[0])
    assert y.shape == (2, 3) and total.dtype == np.int8
    assert "printed by a network" in result.stderr


def test_memory_and_load_time_are_told(device: Any, examples: Examples) -> None:
    document = device.run("time", [examples(2)])
    memory = document["memory"]
    assert 0 < memory["rss_before_load_bytes"] <= memory["rss_after_load_bytes"] <= memory["peak_rss_bytes"]
    assert 0 < document["load_s"] < 60
    assert document["clock"]["name"] == "CLOCK_MONOTONIC" and 0 < document["clock"]["step_s"] < 1


def test_timing_meets_both_least_samples_and_least_seconds(device: Any, examples: Examples) -> None:
    rule = {"warmup_samples": 3, "warmup_s": 0.01, "min_samples": 6, "min_s": 0.03, "min_sample_s": 0.002}
    inputs = examples(2)
    inputs[0][0, 0] = 906  # half a millisecond each
    document = device.run("time", [inputs], sampling=rule)
    samples = document["samples"]
    timed = [ns for ns, is_timed in zip(samples["duration_ns"], samples["timed"], strict=True) if is_timed]
    warm = samples["timed"].count(False)
    assert len(timed) >= 6 and sum(timed) >= 3e7
    assert len(timed) == 6 or sum(timed[:-1]) < 3e7  # no more than it must
    assert (
        document["warmup"]["samples"] == warm >= 3 and document["warmup"]["seconds"] >= 0.01 and not document["warmup"]["capped"]
    )
    assert samples["timed"] == [False] * warm + [True] * len(timed)
    columns = list(zip(samples["duration_ns"], samples["loops"], samples["timed"], strict=True))
    assert samples["loops"][0] == 1 and len({loops for _, loops, is_timed in columns if is_timed}) == 1
    assert columns[warm - 1][0] >= 2e6  # the sample that ended the warm-up was long enough
    assert all(duration / loops >= 500_000 for duration, loops, _ in columns)  # never less than an inference takes
    start = samples["start_ns"]
    assert all(begin + length <= after for begin, length, after in zip(start, samples["duration_ns"], start[1:], strict=False))
    state = [document[name]["monotonic_s"] for name in ("state_before", "state_after")]
    assert state[1] - state[0] >= sum(samples["duration_ns"]) / 1e9


def test_a_fast_network_leaves_a_bounded_number_of_samples(device: Any, examples: Examples) -> None:
    rule = {"warmup_samples": 0, "warmup_s": 0, "min_samples": 1, "min_s": 0.2, "min_sample_s": 1e-9}
    document = device.run("time", [examples(2)], sampling=rule)
    assert document["warmup"]["least_sample_s"] == pytest.approx(0.2 / 10_000)
    assert 10 < len(document["samples"]["loops"]) < 20_000


def test_process_counters_cover_the_timing_on_the_cpus_asked_for(device: Any, examples: Examples) -> None:
    (cpu, *_) = sorted(os.sched_getaffinity(0))
    document = device.run("time", [examples(2)], cpus=[cpu])
    before, after = document["process_before"], document["process_after"]
    assert all(after[name] >= before[name] for name in before if name != "affinity")
    assert after["cpu_s"] > before["cpu_s"] and after["affinity"] == [cpu]
    assert device.run("time", [examples(2)], cpus=...)["process_after"]["affinity"] == sorted(os.sched_getaffinity(0))


def test_the_state_is_read_where_the_request_says(device: Any, examples: Examples, tmp_path: Path) -> None:
    for name, content in (
        ("devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "1500000\n"),
        ("devices/system/cpu/cpufreq/policy4/scaling_cur_freq", "not a number\n"),
        ("devices/system/cpu/cpufreq/other/scaling_cur_freq", "1\n"),
        ("class/thermal/thermal_zone0/temp", "-2500\n"),
    ):
        (tmp_path / "sys" / name).parent.mkdir(parents=True)
        (tmp_path / "sys" / name).write_text(content)
    for python in (False, True):
        state = device.run("time", [examples(2)], sysfs="sys", python=python)["state_before"]
        assert (
            state["frequency_hz"] == {"policy0": 1.5e9}
            and state["celsius"] == {"thermal_zone0": -2.5}
            and state["reason"] is None
        )
        state = device.run("time", [examples(2)], sysfs="absent", python=python)["state_after"]
        assert state["frequency_hz"] is None and state["celsius"] is None and "no cpufreq policy" in state["reason"]


def test_instructions_are_counted_or_it_is_said_why_not(
    device: Any, examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = device.run("time", [examples(2)], count_instructions=True)["samples"]
    if samples["instructions"] is None:
        assert samples["instructions_reason"].startswith("the kernel counts no instructions: perf_event_open: ")
    else:
        assert samples["instructions_reason"] is None and all(
            count > 100 * loops for count, loops in zip(samples["instructions"], samples["loops"], strict=True)
        )
    (tmp_path / "kept").write_bytes((7).to_bytes(8, "little"))  # by an emulator, which here does not count on
    monkeypatch.setenv("ASSAY_INSTRUCTIONS", str(tmp_path / "kept"))
    samples = device.run("time", [examples(2)], count_instructions=True)["samples"]
    assert set(samples["instructions"]) == {0} and samples["instructions_reason"] is None
    monkeypatch.setenv("ASSAY_INSTRUCTIONS", str(tmp_path / "absent"))
    samples = device.run("time", [examples(2)], count_instructions=True)["samples"]
    assert samples["instructions"] is None and "No such file" in samples["instructions_reason"]
    reply = device.run("time", [examples(2)], count_instructions=True, python=True)["samples"]
    assert reply["instructions"] is None and "Python runner counts no instructions" in reply["instructions_reason"]


def test_a_quantized_input_is_filled_as_the_python_backends_fill_it(device_of: Any) -> None:
    device = device_of("-DQUANTIZED")
    halves = np.arange(-80, 80, dtype=np.float32) / 4  # ties of a scale of 0.5 among them
    far = np.array([1e30, -1e30, np.inf, -np.inf, 64.9, -63.1, 62.75, 0.25], np.float32)
    x = np.concatenate([halves, far]).reshape(-1, 4)
    bias = np.zeros((len(x), 1), np.float32)
    device.run("answer", [[x, bias]])
    levels = np.clip(np.rint(x / np.float32(0.5)) + np.float32(-3), -128, 127)
    real = np.float32(0.5) * (levels + 3)
    expected = np.maximum(real @ np.arange(12, dtype=np.float32).reshape(4, 3), 0) * 2
    np.testing.assert_array_equal(device.outputs()[0], expected)
    codes = levels.astype(np.int8)  # and as it stores them
    device.run("answer", [[codes, bias]])
    np.testing.assert_array_equal(device.outputs()[0], expected)
    device.run("answer", [[np.full((2, 4), np.nan, np.float32), bias[:2]]])  # no number: the least level, not undefined behaviour
    assert not device.outputs()[0].any()


def test_weights_lie_beside_the_program(device_of: Any, examples: Examples) -> None:
    device = device_of("-DWEIGHTS_BYTES=48")
    x, bias = examples(2)
    weights = np.arange(12, 0, -1, dtype=np.float32).reshape(4, 3)
    (device.folder / "artifact" / "weights.bin").write_bytes(weights.tobytes())
    files = ["program", "weights.bin"]
    device.run("answer", [[x, bias]], files=files)
    np.testing.assert_array_equal(device.outputs()[0], np.maximum(x @ weights, 0) * 2 + bias)
    (device.folder / "artifact" / "weights.bin").write_bytes(b"cut off")
    refused = device.run("answer", [[x, bias]], files=files, status=3)
    assert refused["error"]["message"] == "the network wants 48 bytes of weights beside the program, there are 7"
    assert "there are 0" in device.run("answer", [[x, bias]], status=3)["error"]["message"]


def test_a_profile_has_each_layers_time(device: Any, device_of: Any, examples: Examples) -> None:
    document = device.run("profile", [examples(2)])
    assert [(o["name"], o["op"]) for o in document["operators"]] == [("dense", "MatMul"), ("bias", "Add")]
    assert all(0 <= operator["time_s"] < 10 for operator in document["operators"])


def test_a_network_without_layers_gives_no_profile(device_of: Any, examples: Examples) -> None:
    assert device_of("-DLAYERS=0").run("profile", [examples(2)], status=3)["error"] == {
        "class": "RuntimeError",
        "message": "the network was compiled without a profile",
    }


@pytest.mark.parametrize("facts", ["1", "{", '{\\"a\\": nan}', "{} {}"])
def test_facts_that_are_no_json_object_spoil_no_document(device_of: Any, examples: Examples, facts: str) -> None:
    document = device_of(f'-DFACTS="{facts}"').run("answer", [examples(2)], status=3)
    assert document["error"]["message"].startswith("model_facts: not ")


X, BIAS = np.ones((2, 4), np.float32), np.ones((2, 1), np.float32)


@pytest.mark.parametrize(
    ("arrays", "more", "message"),
    [
        ([X], {}, "in0.npz: 1 arrays for 2 inputs"),
        ([X, BIAS, BIAS], {}, "in0.npz: 3 arrays for 2 inputs"),
        ([X.astype(np.float64), BIAS], {}, "in0.npy: arrays of type '<f8' are not read here"),
        ([X.astype(np.int8), BIAS], {}, "input 0 is <f4, |i1 was given"),
        ([np.asfortranarray(X), BIAS], {}, "in0.npy: it is not in C order"),
        ([X[:, :3], BIAS], {}, "input 0 is 4 along axis 1, 3 was given"),
        ([X[0], BIAS], {}, "inputs must have the same positive number of examples"),
        ([X[..., None], BIAS], {}, "input 0 has 2 dimensions, 3 were given"),
        ([X[:1], BIAS], {}, "inputs must have the same positive number of examples"),
        ([X[:0], BIAS[:0]], {}, "inputs must have the same positive number of examples"),
        ([X[:1], BIAS[:1]], {"batched": False}, "input 0 is 2 along axis 0, 1 was given"),
        ([X, BIAS], {"batch": 3}, "input 0 does not start with the batch 3"),
        ([X, BIAS], {"batch": 0}, "`batch` is 0, not a whole number of at least 1"),
        ([X, BIAS], {"batch": 1.5}, "`batch` is 1.5, not a whole number"),
        ([X, BIAS], {"options": {"threads": 5}}, "the network cannot be opened on 5 threads: Invalid argument"),
        ([X, BIAS], {"options": {"threads": "1"}}, "`threads` is a string, not a number"),
        ([X, BIAS], {"options": {}}, "no `threads`"),
        ([X, BIAS], {"mode": "guess"}, "unknown mode `guess`"),
        ([X, BIAS], {"schema": 2}, "requests of schema 1 are read here"),
        ([X, BIAS], {"outputs": []}, "not one file of outputs for each of inputs"),
        ([X, BIAS], {"inputs": ["absent.npz"]}, "absent.npz: No such file or directory"),
        ([X, BIAS], {"inputs": ["artifact"]}, "artifact: empty, larger than 1 GiB, or not a file"),
        ([X, BIAS], {"inputs": ["request.json"]}, "request.json: not an npz file, or cut off"),
        ([X, BIAS], {"inputs": [None]}, "an item is a null, not a string"),
        ([X, BIAS], {"outputs": ["absent/out.npz"]}, "absent/out.npz: No such file or directory"),
        ([X, BIAS], {"outputs": ["/dev/full"]}, "/dev/full: it could not be written: No space left on device"),
        ([X, BIAS], {"cpus": [4000]}, "the CPUs that were asked for: Invalid argument"),
        ([X, BIAS], {"cpus": [0, 4000]}, "not all of the CPUs that were asked for"),
        ([X, BIAS], {"cpus": [-1]}, "there is no CPU -1"),
        ([X, BIAS], {"cpus": []}, "the CPUs that were asked for: Invalid argument"),
        ([X, BIAS], {"limit_s": -1}, "a limit of -1 s cannot be set"),
        ([X, BIAS], {"limit_s": ...}, "no `limit_s`"),
        ([X, BIAS], {"sampling": None, "real_mode": "time"}, "`sampling` is a null, not a object"),
    ],
)
def test_what_goes_wrong_is_in_the_document(
    device: Any, arrays: list[npt.NDArray[Any]], more: dict[str, Any], message: str
) -> None:
    more = dict(more)
    mode = more.pop("real_mode", more.pop("mode", "answer"))
    document = device.run(mode, [arrays], status=3, **more)
    assert set(document) == {"schema", "nonce", "mode", "error"} and document["mode"] == mode
    assert document["error"]["message"].startswith(message) and document["error"]["class"].endswith("Error")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "empty, larger than 1 GiB, or not a file"),
        (b"[]", "not a JSON object"),
        (b"{", "not JSON: a member without a name at byte 1"),
        (b'{"nonce": 1}', "`nonce` is a number, not a string"),
        (b'{"nonce": "a\\nb", "mode": "answer"}', "the nonce is not of hexadecimal digits"),
        (b'{"nonce": "abc"}', "no `mode`"),
        (b'{"nonce": "abc", "nonce": "abc"}', "`nonce` stands there twice"),
        (b"[" * 100_000, "lists nested too deep"),
        (b" " * (2 << 20), "2097152 bytes of JSON; the most is 1048576"),
        (b"[" + b"0," * 40_000 + b"0]", "too many values"),
    ],
)
def test_a_request_that_names_nobody_to_answer_is_told_on_standard_error(device: Any, text: bytes, message: str) -> None:
    (device.folder / "request.json").write_bytes(text)
    result = device.started()
    assert (result.returncode, result.stdout) == (1, "") and message in result.stderr


def test_a_message_is_json_whatever_is_in_it(device: Any) -> None:
    name = 'a "b" \\ \n é.npz'
    document = device.run("answer", [[X, BIAS]], inputs=[name], status=3)
    assert document["error"]["message"] == f"{name}: No such file or directory"


def test_it_dies_with_its_parent(device: Any, examples: Examples) -> None:
    """kill -9 of whoever started it, while it runs."""
    inputs = examples(2)
    inputs[0][0, 0] = 901
    device.request("time", [inputs])
    code = "import subprocess; p = subprocess.Popen(['artifact/program', 'request.json']); print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=device.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(0.2)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    stat = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 30
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX":
        assert time.monotonic() < deadline, "the runner outlived its parent"
        time.sleep(0.01)


def test_it_ends_itself_at_its_limit(device: Any, examples: Examples) -> None:
    inputs = examples(2)
    inputs[0][0, 0] = 901
    device.request("time", [inputs], limit_s=0.5)
    result = device.started()
    assert result.returncode == -signal.SIGALRM and result.stdout == ""


ISAS = ("aarch64", "armv7l", "riscv64") if os.environ.get("ASSAY_NIGHTLY") else ("aarch64",)
"""Each one's libc is compiled first, which takes a minute: by day only that which other tests need, too."""


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.usefixtures("compiler_cache")
def test_every_instruction_set_answers_and_times(tmp_path: Path, programs: Any, examples: Examples, isa: str) -> None:
    """Through the emulator, built by the cross compiler without a warning: a whole network on a device without Python."""
    if isa == platform.machine() or not any(
        shutil.which(name) for name in (f"qemu-{EMULATED[isa]}", f"qemu-{EMULATED[isa]}-static")
    ):
        pytest.skip("needs qemu's user-mode emulators (qemu-user), of another instruction set than this machine's")
    target = Target("device", transport="qemu", isa=isa, work_dir=str(tmp_path / "work"))
    (tmp_path / "built").mkdir()
    shutil.copy(runner_program([programs.model], target), tmp_path / "built" / "program")
    x, bias = examples(5)
    with connect(target) as session:
        put = deploy_program(session, Artifact.of(tmp_path / "built", ("program",), {}), {"threads": 1})
        found = measure.answer(session, put, [x, bias], batch=2, timeout_s=120)
        np.testing.assert_array_equal(
            found.outputs[0], np.maximum(x @ np.arange(12, dtype=np.float32).reshape(4, 3), 0) * 2 + bias
        )
        sampling = Sampling(warmup_samples=3, warmup_s=0.01, min_samples=6, min_s=0.03, min_sample_s=0.002)
        launch = measure.time_launch(session, dataclasses.replace(put, sysfs=target.sysfs), [x, bias], batch=2, sampling=sampling)
    metrics = {measurement.metric: measurement for measurement in measure.measurements([launch], target)}
    assert metrics["latency"].origin == "emulated" and metrics["latency"].samples is not None
    assert launch.reply.state_before is not None and launch.reply.state_before.frequency_hz is None


EMULATED = {"aarch64": "aarch64", "armv7l": "arm", "riscv64": "riscv64"}
