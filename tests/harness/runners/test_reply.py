"""What a runner says is not believed until it has been held against everything there is."""

from __future__ import annotations

import copy
import io
import json
import math
import random
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import RunnerError
from harness.runners.reply import (
    MAX_DOCUMENT_BYTES,
    Document,
    Failure,
    OutputFile,
    Quantized,
    check_affinity,
    check_timing,
    pack_inputs,
    parse_reply,
    read_outputs,
    real,
)
from harness.suite import Sampling

NONCE = "ab" * 16
PROCESS = {
    "cpu_s": 0.1,
    "voluntary_switches": 1,
    "involuntary_switches": 2,
    "minor_faults": 3,
    "major_faults": 0,
    "affinity": [0, 1],
}
STATE = {"monotonic_s": 12.5, "frequency_hz": None, "celsius": {"thermal_zone0": 48.3}, "reason": "no cpufreq"}
ANSWER: dict[str, Any] = {
    "schema": 1,
    "nonce": NONCE,
    "mode": "answer",
    "load_s": 0.25,
    "clock": {"name": "CLOCK_MONOTONIC", "step_s": 1e-9},
    "memory": {"rss_before_load_bytes": 1000, "rss_after_load_bytes": 2000, "peak_rss_bytes": 3000},
    "facts": {"runtime": "x", "share": 0.5, "list": [1, None, {"a": True}]},
    "runner": {"implementation": "CPython", "version": "3.11.7"},
    "versions": {"numpy": "2.4.0", "absent": None},
    "outputs": [{"file": "o.npz", "size_bytes": 300, "tensors": [{"shape": [2, 3], "dtype": "<f4", "quantization": None}]}],
}
TIME: dict[str, Any] = {
    **ANSWER,
    "mode": "time",
    "samples": {
        "start_ns": [0, 20, 1000, 2000],
        "duration_ns": [10, 900, 1000, 1000],
        "loops": [1, 5, 5, 5],
        "timed": [False, False, True, True],
        "instructions": [30, 150, 150, 151],
        "instructions_reason": None,
    },
    "warmup": {"samples": 2, "seconds": 1e-6, "capped": False, "least_sample_s": 8e-7},
    "state_before": STATE,
    "state_after": STATE,
    "process_before": PROCESS,
    "process_after": PROCESS,
}
RULE = Sampling(min_samples=2, min_s=2e-6)


def said(document: Any, nonce: str = NONCE) -> bytes:
    text = document if isinstance(document, str) else json.dumps(document)
    return f"ASSAY-BEGIN {nonce}\n{text}\nASSAY-END {nonce}\n".encode()


def parsed(document: Any) -> Document:
    reply = parse_reply(said(document), NONCE)
    assert isinstance(reply, Document)
    return reply


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the value at `a.b.0` replaced; `...` deletes it."""
    changed = copy.deepcopy(document)
    *parents, last = (int(step) if step.isdigit() else step for step in path.split("."))
    place: Any = changed
    for step in parents:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return changed


@pytest.mark.parametrize("document", [ANSWER, TIME])
def test_a_whole_document_survives(document: dict[str, Any]) -> None:
    dump = parsed(document).model_dump(mode="json", by_alias=True, exclude_none=False)
    assert {key: value for key, value in dump.items() if value is not None} == document


def test_noise_around_the_marks_is_passed_over() -> None:
    stdout = b"\xff\xfe noise ASSAY-BEGIN\n" + said(ANSWER) + b"more\n"
    assert isinstance(parse_reply(stdout, NONCE), Document)


def test_a_failure_is_a_failure() -> None:
    error = {"class": "KeyError", "message": "no such node"}
    reply = parse_reply(said({"schema": 1, "nonce": NONCE, "mode": "time", "error": error}), NONCE)
    assert reply == Failure.model_validate(error) and isinstance(reply, Failure)


@pytest.mark.parametrize(
    ("stdout", "message"),
    [
        (b"", "0 bytes without one whole document"),
        (b"garbage\n", "8 bytes without one whole document"),
        (said(ANSWER)[:-40], "without one whole document"),
        (said(ANSWER) + said(ANSWER), "without one whole document"),
        (said(ANSWER, "cd" * 16), "of another request (replayed?)"),
        (said({**ANSWER, "nonce": "cd" * 16}), "its nonce is not the one that was sent"),
        (said("not json"), "not JSON"),
        (said("[1]"), "not a JSON object"),
        (said("{" * 100_000), "not JSON"),
        (said('{"a":' * 100_000), "not JSON"),
        (said('{"load_s": 1e999}'), "1e999 is not a finite number"),
        (said('{"load_s": NaN}'), "NaN is not a finite number"),
        (said('{"load_s": -Infinity}'), "-Infinity is not a finite number"),
        (said(json.dumps(ANSWER).replace('"share": 0.5', '"share": NaN')), "NaN is not a finite number"),
        (said('{"load_s": 1' + "0" * 5000 + "}"), "not JSON"),
        (said(" " * MAX_DOCUMENT_BYTES + "{}"), "characters, more than"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_told(stdout: bytes, message: str) -> None:
    with pytest.raises(RunnerError) as caught:
        parse_reply(stdout, NONCE)
    assert message in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", 2), ("schema", "1"), ("mode", "sing"), ("surprise", 1), ("clock.surprise", 1),
        ("load_s", 0), ("load_s", -1), ("load_s", "1"), ("load_s", True), ("load_s", None), ("load_s", ...),
        ("clock.step_s", 0), ("clock.name", "x" * 201), ("clock.name", 5),
        ("memory.peak_rss_bytes", -1), ("memory.peak_rss_bytes", 2**54), ("memory.peak_rss_bytes", 1.5), ("memory.peak_rss_bytes", ...),
        ("facts", []), ("facts", ...), ("versions", {"x" * 201: None}), ("runner", {"version": 3}),
        ("outputs", []), ("outputs.0.tensors", []), ("outputs.0.tensors.0.dtype", "|O"), ("outputs.0.tensors.0.dtype", ">f4"),
        ("outputs.0.tensors.0.shape", [-1]), ("outputs.0.tensors.0.shape", [1] * 17), ("outputs.0.tensors.0.shape", [2**40]),
        ("outputs.0.tensors.0.quantization", {"scale": 0, "zero_point": 0}), ("outputs.0.tensors.0.quantization", {"scale": -1.0, "zero_point": 0}),
        ("outputs.0.tensors.0.quantization", {"scale": 1.0, "zero_point": 2**40}),
        ("samples", None), ("samples", ...), ("warmup", ...), ("state_after", ...), ("process_before", None),
        ("samples.start_ns", [0, 20, 1000]), ("samples.loops", [1, 5, 5, 0]), ("samples.loops", [1, 5, 5, 2**32]),
        ("samples.duration_ns", [10, 900, 1000, 0]), ("samples.duration_ns", [10, 900, 1000, -5]), ("samples.duration_ns", [10, 990, 1000, 1000]),
        ("samples.duration_ns", [10, 900, 1000, 1e3 + 0.5]), ("samples.start_ns", [0, 20, 2000, 1000]), ("samples.timed", [False, True, False, True]),
        ("samples.instructions", [30, 150, 150]), ("samples.instructions", [30, 150, 150, -1]), ("samples.instructions_reason", "why not"),
        ("samples.timed", [0, 0, 1, 1]), ("process_after.cpu_s", -0.1), ("process_after.affinity", [-1]), ("state_before.celsius", {"z": "hot"}),
    ],
)  # fmt: skip
def test_a_document_with_any_field_wrong_is_refused(path: str, value: Any) -> None:
    with pytest.raises(RunnerError, match="document is not valid"):
        parse_reply(said(changed(TIME, path, value)), NONCE)


def test_an_answer_has_no_samples() -> None:
    with pytest.raises(RunnerError, match="must not have every part of a timing"):
        parse_reply(said({**TIME, "mode": "answer"}), NONCE)


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_never_do_more_than_be_refused(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(20):
        flipped_bytes(rng)


def flipped_bytes(rng: random.Random) -> None:
    stdout = bytearray(said(TIME))
    for _ in range(rng.randint(1, 5)):
        stdout[rng.randrange(len(stdout))] = rng.randrange(256)
    try:
        reply = parse_reply(bytes(stdout), NONCE)
    except RunnerError:
        return
    assert isinstance(reply, (Document, Failure))


@pytest.mark.parametrize(
    ("change", "rule", "wall_s", "message"),
    [
        (lambda d: d, RULE, 1.0, None),
        (lambda d: d, Sampling(min_samples=3, min_s=0), 1.0, "stopped early: 2 timed samples"),
        (lambda d: d, Sampling(min_samples=1, min_s=1.0), 1.0, "stopped early"),
        (lambda d: changed(d, "samples.duration_ns.3", 10**12), RULE, 1.0, "clock cannot be right: samples of 1e.03 s in a command that took 1 s"),
        (lambda d: changed(d, "samples.start_ns", [0, 20, 1000, 10**12]), RULE, 1.0, "clock cannot be right"),
    ],
)  # fmt: skip
def test_samples_must_agree_with_the_request_and_our_clock(
    change: Callable[[dict[str, Any]], dict[str, Any]], rule: Sampling, wall_s: float, message: str | None
) -> None:
    document = parsed(change(TIME))
    if message is None:
        assert check_timing(document, rule, wall_s).loops == [1, 5, 5, 5]
        return
    with pytest.raises(RunnerError, match=message):
        check_timing(document, rule, wall_s)


def test_a_timing_on_other_cpus_than_asked_for_is_refused() -> None:
    document = parsed(TIME)
    check_affinity(document, None)
    check_affinity(document, (1, 0))
    for cpus in ((0,), (0, 1, 2)):
        with pytest.raises(RunnerError, match="was to be bound to CPUs"):
            check_affinity(document, cpus)
    for value in (None, [0]):
        with pytest.raises(RunnerError, match="it ran on"):
            check_affinity(parsed(changed(TIME, "process_after.affinity", value)), (0, 1))


def test_an_answer_cannot_pass_for_a_timing() -> None:
    with pytest.raises(RunnerError, match="no samples"):
        check_timing(parsed(ANSWER), RULE, 1.0)


def npz(**arrays: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def described(*arrays: npt.NDArray[Any]) -> OutputFile:
    tensors = [{"shape": list(a.shape), "dtype": a.dtype.str, "quantization": None} for a in arrays]
    return OutputFile.model_validate({"file": "o.npz", "size_bytes": 1, "tensors": tensors})


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (2, 0, 3), (1, 2, 3, 4)])
def test_arrays_arrive_bit_by_bit(dtype: str, shape: tuple[int, ...]) -> None:
    first = np.asarray(np.random.default_rng(0).integers(0, 2, shape)).astype(dtype)
    second = np.array([math.nan, 1.5])
    found = read_outputs(npz(out0=first, out1=second), described(first, second))
    assert [(a.shape, a.dtype, a.tobytes()) for a in found] == [(a.shape, a.dtype, a.tobytes()) for a in (first, second)]


X = np.arange(6, dtype=np.float32).reshape(2, 3)


def zipped(name: str, content: bytes, how: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def npy(array: npt.NDArray[Any], **how: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **how)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an npz file"),
        (b"PK\x03\x04 nonsense", "not an npz file"),
        (npz(out0=X)[:-10], "not an npz file"),
        (npz(out1=X), r"holds \['out1.npy'\]"),
        (npz(out0=X, out1=X), "holds"),
        (npz(out0=X.T), r"'shape': \(3, 2\).* described as .*'shape': \(2, 3\)"),
        (npz(out0=np.asfortranarray(X)), "described as"),
        (npz(out0=X.astype(np.float64)), r"'<f8'.* described as"),
        (npz(out0=X.astype(">f4")), "described as"),
        (zipped("out0.npy", npy(X)[:-4]), "described as"),
        (zipped("out0.npy", npy(X) + b"more"), "described as"),
        (zipped("out0.npy", b"text"), "described as"),
        (zipped("out0.npy", npy(np.array([{}], dtype=object), allow_pickle=True)), "described as"),
        (zipped("out0.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4',"), "described as"),
        (zipped("out0.npy", bytes(10 << 20), zipfile.ZIP_DEFLATED), "compressed or more than its 24"),
        (zipped("out0.npy", npy(np.zeros(1 << 20, np.float32))), "compressed or more than its 24"),
        (zipped("out0.npy", npy(X), zipfile.ZIP_DEFLATED), "compressed or more"),
    ],
)  # fmt: skip
def test_output_files_that_are_not_as_described_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(RunnerError, match=message):
        read_outputs(content, described(X))


def test_a_header_that_claims_a_huge_array_takes_no_memory() -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }\n"
    content = zipped("out0.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(RunnerError, match="described as"):
        read_outputs(content, described(X))


@pytest.mark.parametrize("seed", range(4))
def test_broken_output_files_never_do_more_than_be_refused(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(200):
        broken_output_file(rng)


def broken_output_file(rng: random.Random) -> None:
    content = bytearray(npz(out0=X, out1=np.arange(5)))
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    content = content[: rng.choice((None, rng.randrange(len(content))))]
    try:
        found = read_outputs(bytes(content), described(X, np.arange(5)))
    except RunnerError:
        return
    assert [a.shape for a in found] == [(2, 3), (5,)]


def test_inputs_are_packed_in_order() -> None:
    arrays = [np.arange(i + 1) for i in range(12)]
    with np.load(io.BytesIO(pack_inputs(arrays)), allow_pickle=False) as file:
        assert [file[f"in{i}"].tolist() for i in range(12)] == [a.tolist() for a in arrays]


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=50), st.floats(1e-6, 1e3), st.integers(-128, 127))
def test_real_values_follow_the_formula(stored: list[int], scale: float, zero_point: int) -> None:
    found = real(np.array(stored, np.int8), Quantized(scale=scale, zero_point=zero_point))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [scale * (q - zero_point) for q in stored], rtol=1e-6)


def test_what_is_not_quantized_is_as_it_is() -> None:
    indices = np.array([3, 4])
    assert real(indices, None) is indices
